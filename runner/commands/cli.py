"""The `caffe` command: flags, the choice of a subcommand, and how failures are told."""

import os
import sys
from importlib import import_module

from netgen import __version__
from netgen.errors import CaffeError
from runner import external
from runner.commands import flags as gflags
from runner.commands.failures import line_of
from runner.log import glog
from runner.process import host
from runner.process.place import place, refuse_workers

COMMANDS = ("device_query", "test", "time", "train")


def main(arguments=None):
    """Run `caffe <command> <args>`; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        own, others = gflags.take_own(words)
        if own.get("engine") == "pycaffe":
            return _run_external(others, own)
        flags = gflags.parse(words)
    except gflags.FlagError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    if "version" in flags.values:
        print(f"caffe version {gflags.VERSION}\ncaffe-split {__version__}")
        return 0
    if "help" in flags.values or "h" in flags.values:
        print(gflags.help_text())
        return 1  # gflags' own exit status
    if len(flags.words) != 1:
        print(gflags.help_text())
        return 0
    try:
        return _run(flags)
    except KeyboardInterrupt:  # where no solver listens to it
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        return _tell(error)
    finally:
        glog.log.close()


def _tell(error):
    """Say in one line what went wrong; returns the exit status. Raises what is a bug."""
    line = line_of(error)
    if line is None:
        raise error
    glog.fatal(line, "caffe.cpp:439")
    return 1


def _run_external(words, own):
    """The exit status of an external Caffe, which reads the words itself."""
    try:
        refuse_workers("-engine pycaffe")
        return external.run(words, own)
    except (CaffeError, OSError) as error:
        return _tell(error)


def _run(flags):
    (command,) = flags.words
    if command not in COMMANDS:
        glog.error("Available caffe actions:", "caffe.cpp:78")
        for name in COMMANDS:
            glog.error(f"\t{name}", "caffe.cpp:81")
        raise CaffeError(f"Unknown action: {command}")
    if command != "train":
        refuse_workers(f"caffe {command}")
    # As glog writes to /tmp, a training writes to ./logs, where that is.
    directory = glog.log_directory(flags.log_dir, "logs" if command == "train" else "")
    subjects = flags.solvers()
    # Trainings at once have a log each; of several workers the first has one.
    if directory and len(subjects) == 1 and not place().rank:
        subject = os.path.basename(subjects[0] or flags.model or command)
        glog.log.open_file(directory, os.path.splitext(subject)[0])
    host.prepare()
    if place().count > 1:  # what becomes of other workers is told in one line, by us
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # torch is loaded only when there is work to do
    return getattr(import_module(f"runner.commands.{command}"), command)(flags)
