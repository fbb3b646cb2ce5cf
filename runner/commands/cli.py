"""The `caffe` command: flags, the choice of a subcommand, and how failures are reported."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from netgen import __version__, own_layers, start
from netgen.commandline import exit_status, print_error
from netgen.errors import CaffeError
from runner import external
from runner.commands import flags as gflags
from runner.log import glog
from runner.process import host
from runner.process.place import place, refuse_workers

COMMANDS = ("classify", "device_query", "export", "forward", "test", "time", "train", "verify")
TAKES_FILES = ("classify", "verify")  # as words behind the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `caffe <command> <args>`; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        run = functools.partial(_main, words)
        return exit_status(run, lambda line: glog.fatal(line, "caffe.cpp:439"))
    finally:
        glog.log.close()


def _main(words: Sequence[str]) -> int:
    try:
        own, others = gflags.take_own(words)
        external_caffe = own.get("engine") == "pycaffe"
        flags = None if external_caffe else gflags.parse(words)
    except gflags.FlagError as error:
        print_error("ERROR", error)  # as gflags does
        return error.status
    if external_caffe:  # it reads the words itself
        if own.get("layers"):
            raise CaffeError("-layers needs our own engine: leave out -engine pycaffe")
        refuse_workers("-engine pycaffe")
        return external.run(others, own)
    if "version" in flags.values:
        print(f"caffe version {gflags.VERSION}\ncaffe-split {__version__}")
        return 0
    if "help" in flags.values or "h" in flags.values:
        print(gflags.help_text())
        return 1  # gflags' own exit status
    if len(flags.words) != 1 and not (flags.words and flags.words[0] in TAKES_FILES):
        print(gflags.help_text())
        return 0
    return _prepared(flags.words[0], flags)(flags)


def _prepared(command: str, flags: gflags.Flags) -> Callable[[gflags.Flags], int]:
    """The function of a subcommand, once its log file is open and the process is set up."""
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
        try:
            glog.log.open_file(directory, os.path.splitext(subject)[0])
        except OSError as error:  # as with glog, which says so and goes on
            glog.warning(f"COULD NOT CREATE A LOGGINGFILE: {error}", "caffe.cpp:439")
    host.prepare()
    own_layers.load(flags.layers)  # they may load torch
    if place().count > 1:  # we report in one line of our own what becomes of other workers
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # torch is loaded only when there is work to do
    with start.loading():
        return getattr(import_module(f"runner.commands.{command}"), command)
