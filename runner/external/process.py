"""An external Caffe's own process: its flags, its log, its signals and its exit status."""

import signal
import subprocess
import sys

from runner.external.find import find
from runner.log import glog

FORWARDED = ("SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT")

#: What training has only with our engine.
OURS_IN_TRAINING = (
    "the log file in ./logs", "the progress bar", "resuming with data cursors and random states",
)  # fmt: skip


def run(words: list[str], own: dict[str, object]) -> int:
    """Run the external Caffe with these words of its command line; returns the exit status.

    own: the flags given that only our engine has; they are named and left out. Output goes where
    ours goes, untouched. Death by signal n is status 128 + n. Raises CaffeError without a Caffe.
    """
    caffe = find()
    missing = [f"-{name}" for name in own if name != "engine"]
    if "train" in words:
        missing += OURS_IN_TRAINING
    note = f"; only -engine torch has {', '.join(missing)}" if missing else ""
    glog.info(f"Engine: {caffe.tool} ({caffe.source}){note}", "caffe.cpp:439")
    sys.stdout.flush()
    return _run([str(caffe.tool), *words], caffe.environment())


def _run(command, environment):
    """The status of a child that is sent the signals that come here.

    From a terminal both get a signal, so the child gets it twice: Caffe only notes it, and
    looks once an iteration. One that is ignored here (nohup) is ignored by the child as well,
    unless it listens to it, as Caffe's training does.
    """
    child, early, before = None, [], {}

    def forward(number, frame):
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    def listen(ignored):
        for name in FORWARDED:
            number = getattr(signal, name)
            if number not in before and (signal.getsignal(number) == signal.SIG_IGN) == ignored:
                before[number] = signal.signal(number, forward)

    try:
        listen(ignored=False)
        child = subprocess.Popen(command, env=environment)
        listen(ignored=True)  # only now, as what a process listens to is not ignored by its child
        for number in early:
            child.send_signal(number)
        status = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status
