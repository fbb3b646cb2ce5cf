"""Who answers to `caffe ...`: the embedded engine, in this process, and a C++ Caffe."""

import contextlib
import io
import os
import subprocess
import traceback
from pathlib import Path

import runner
from harness import MODULES
from netgen.errors import CaffeError

#: the status of an engine that came to an end by a traceback rather than by a refusal
CRASHED = 70


class Embedded:
    """The engine of this project, called in this process: no start-up to wait for."""

    def call(self, words, folder):
        """`caffe` with `words` in `folder`; returns (exit status, log)."""
        log, before = io.StringIO(), os.getcwd()
        kept = os.environ.get("GLOG_logtostderr")
        os.environ["GLOG_logtostderr"] = "1"
        os.chdir(folder)
        try:
            with contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
                status = runner.main(list(words))
        except Exception as error:  # a crash is a finding, not the end of the run
            status = 1 if _users_own(error) else CRASHED
            return status, log.getvalue() + traceback.format_exc()
        finally:
            os.chdir(before)
            if kept is None:
                del os.environ["GLOG_logtostderr"]
            else:
                os.environ["GLOG_logtostderr"] = kept
        return status, log.getvalue()


def _users_own(error):
    """Does the error come out of a user's Python layer? Both engines then end with a traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).match("runner/layers/python.py") for frame in frames)


class Command:
    """A C++ Caffe's own command. older: is it the fork from before 1.0 that we can build?"""

    PATIENCE = 20  # seconds; cases take a fraction of one

    def __init__(self, path, environment=None, older=False):
        self.path, self.older = path, older
        environment = environment or os.environ
        paths = [path for path in (environment.get("PYTHONPATH"), MODULES) if path]
        self.environment = {
            **environment,
            "PYTHONPATH": os.pathsep.join(paths),
            "GLOG_logtostderr": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def call(self, words, folder):
        """As Embedded.call; a death by signal is a negative status, as subprocess has it."""
        try:
            done = subprocess.run(
                [self.path, *words],
                cwd=folder,
                env=self.environment,
                timeout=self.PATIENCE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, "timed out"
        return done.returncode, done.stdout.decode(errors="replace")

    def version(self):
        """What the command says of itself, in one line."""
        done = subprocess.run(
            [self.path, "-version"], env=self.environment, capture_output=True, check=False
        )
        words = (done.stdout + done.stderr).decode(errors="replace").split()
        return words[-1] if words else "unknown"


def find_caffe():
    """The C++ Caffe that `-engine pycaffe` would use, as a Command, or None.

    Raises CaffeError where CAFFE_ROOT names none.
    """
    try:
        found = runner.find_external()
    except CaffeError:
        if os.environ.get("CAFFE_ROOT"):
            raise
        return None
    ours = found.root.resolve().parent == runner.external_folder().resolve()
    return Command(str(found.tool), found.environment(), older=ours)


def find_fork():
    """The fork that `make pycaffe` builds, as a Command, whatever CAFFE_ROOT names; or None."""
    try:
        found = runner.find_external(runner.external_folder() / "current")
    except CaffeError:
        return None
    # What finds CAFFE_ROOT's libcaffe must not find it for this one.
    libraries = [str(found.root / "build/lib"), os.environ.get("LD_LIBRARY_PATH")]
    environment = found.environment()
    environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    return Command(str(found.tool), environment, older=True)
