"""`-engine pycaffe`: an external C++ Caffe, found and run in its own process."""

from runner.external.find import External, build_folder, find
from runner.external.process import run

__all__ = ["External", "build_folder", "find", "run"]
