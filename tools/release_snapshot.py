"""`python -m tests.upgrade [VERSION]`: take the snapshot of a release; by default of the version of this source."""

from __future__ import annotations

import sys

from tests.upgrade.snapshots import take
from vllm_operator import __version__

print(take(sys.argv[1] if len(sys.argv) > 1 else __version__))
