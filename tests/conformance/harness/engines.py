"""Who answers to `caffe ...`: the embedded engine, in this process, and a C++ Caffe."""

import contextlib
import io
import os
import subprocess
import traceback

from runner import cli

#: the status of an engine that came to an end by a traceback rather than by a refusal
CRASHED = 70
#: where a C++ Caffe's command lies below CAFFE_ROOT
PLACES = ("build/tools/caffe", "build/tools/caffe.bin", "bin/caffe", "tools/caffe", "caffe")


class Embedded:
    """The engine of this project, called in this process: no start-up to wait for."""

    name = "embedded engine"

    def call(self, words, folder):
        """`caffe` with `words` in `folder`; returns (exit status, log)."""
        log, before = io.StringIO(), os.getcwd()
        kept = os.environ.get("GLOG_logtostderr")
        os.environ["GLOG_logtostderr"] = "1"
        os.chdir(folder)
        try:
            with contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
                status = cli.main(list(words))
        except Exception:  # a crash is a finding, not the end of the run
            return CRASHED, log.getvalue() + traceback.format_exc()
        finally:
            os.chdir(before)
            if kept is None:
                del os.environ["GLOG_logtostderr"]
            else:
                os.environ["GLOG_logtostderr"] = kept
        return status, log.getvalue()


class Command:
    """A C++ Caffe's own command."""

    def __init__(self, path, environment=None):
        self.path = path
        self.environment = {
            **(environment or os.environ),
            "GLOG_logtostderr": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.name = "C++ Caffe"

    def call(self, words, folder):
        """As Embedded.call; a death by signal is a negative status, as subprocess has it."""
        try:
            done = subprocess.run(
                [self.path, *words], cwd=folder, env=self.environment, timeout=120,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
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
    """The Command of the C++ Caffe that CAFFE_ROOT names, or None. Raises FileNotFoundError."""
    root = os.environ.get("CAFFE_ROOT")
    if not root:
        return None
    for place in PLACES:
        path = os.path.join(root, place)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return Command(path)
    raise FileNotFoundError(f"CAFFE_ROOT={root}: none of {', '.join(PLACES)} is there")
