"""`python -m tools.dashboards`: write the JSON of the dashboards. A test fails when a file is not up to date."""

from __future__ import annotations

from tools.dashboards.files import dashboard_files


def main() -> None:
    """Write what changed."""
    for path, text in dashboard_files().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path)


if __name__ == "__main__":
    main()
