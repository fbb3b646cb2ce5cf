"""Cases, the engines that run them, and the comparison of what comes out. See ../README.md."""

import sys
from pathlib import Path

#: where the modules of the cases' Python layers are
MODULES = str(Path(__file__).parent.parent / "cases")
if MODULES not in sys.path:
    sys.path.append(MODULES)
