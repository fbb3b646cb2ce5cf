"""Puts the project on the path, as `python -m bench` from its root does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
