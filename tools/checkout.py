"""Lets the scripts of this folder run in a checkout that is not installed.

They find caffe_tools beside them, as Python puts a script's own folder first on its path. The
rooms lie a folder higher, and this is the one place that adds it. It also tells that a command
begins (netgen.start).
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
if ROOT not in sys.path:
    sys.path.append(ROOT)

from netgen import start  # noqa: E402

start.begin()
