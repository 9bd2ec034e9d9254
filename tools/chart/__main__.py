"""`python -m tools.chart`: write the generated files of the charts. `tests/chart` fails when one is not up to date."""

from __future__ import annotations

import sys

from tools.chart.files import generated_files
from tools.chart.values import ValuesError


def main() -> int:
    """Write what changed; return 0, or 1 for a values file that cannot be documented."""
    try:
        files = generated_files()
    except ValuesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, content in files.items():
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
