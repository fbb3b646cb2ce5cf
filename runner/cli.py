"""The `caffe` command: flags, the choice of a subcommand, and how failures are told."""

import os
import sys

from netgen.errors import CaffeError
from runner import external, glog, host
from runner import flags as gflags

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
        print(f"caffe version {gflags.VERSION}")
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
    except CaffeError as error:
        glog.fatal(str(error), "caffe.cpp:439")
    except MemoryError as error:
        glog.fatal(f"out of memory: {error}", "caffe.cpp:439")
    except RuntimeError as error:
        if "out of memory" not in str(error) and "can't allocate" not in str(error):
            raise
        glog.fatal(str(error).splitlines()[0], "caffe.cpp:439")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        glog.fatal(f"{where}{error.strerror or error}", "caffe.cpp:439")
    finally:
        glog.log.close_file()
    return 1


def _run_external(words, own):
    """The exit status of an external Caffe, which reads the words itself."""
    try:
        return external.run(words, own)
    except CaffeError as error:
        glog.fatal(str(error), "caffe.cpp:439")
    except OSError as error:
        glog.fatal(f"{error.filename}: {error.strerror}", "caffe.cpp:439")
    return 1


def _run(flags):
    (command,) = flags.words
    if command not in COMMANDS:
        glog.error("Available caffe actions:", "caffe.cpp:78")
        for name in COMMANDS:
            glog.error(f"\t{name}", "caffe.cpp:81")
        raise CaffeError(f"Unknown action: {command}")
    _open_log_file(flags, command)
    host.prepare()
    from runner import commands  # torch is loaded only when there is work to do

    return getattr(commands, command)(flags)


def _open_log_file(flags, command):
    """A log file in -log_dir; without the flag, in ./logs where that folder exists.

    As with glog, GLOG_log_dir stands in for the flag and GLOG_logtostderr=1 turns files off.
    """
    directory = flags.log_dir or os.environ.get("GLOG_log_dir", "")
    only_screen = os.environ.get("GLOG_logtostderr", "0").lower() in ("1", "true")
    if directory:
        os.makedirs(directory, exist_ok=True)
    elif command == "train" and os.path.isdir("logs"):
        directory = "logs"
    if directory and not only_screen:
        subject = os.path.basename(flags.solver or flags.model or command)
        glog.log.open_file(directory, os.path.splitext(subject)[0])
