"""Puts the attack on the path, which is no installed package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
