"""A process that has loaded the project and forks a child a command, as fast as a fork is.

A command of Python spends two seconds on imports before it writes its first byte; here it begins
with its work, so that a thousand kills take minutes and hit the writing. The child is otherwise
what a process of its own would be: its own session, folder, descriptors, limits and signals.
Start and its children talk in lines of JSON through two pipes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a script, by Starter
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.path.append(str(Path(__file__).resolve().parents[2] / "shared"))

from attack import commands


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status (negative for a signal), its output, its memory's peak."""

    status: int
    out: str
    err: str
    peak_mb: float = 0.0
    killed: bool = False

    @property
    def crashed(self) -> bool:
        """Whether a signal that nobody sent has ended it."""
        return self.status < 0 and not self.killed


@dataclass(frozen=True)
class Command:
    """A command and what surrounds it.

    name, words: what a person types; folder: where. closed: descriptors that are not open at all.
    limits: resource limits by name ("FSIZE", "NOFILE"). out, err: files instead of the collected
    output, such as /dev/full. own_process: not a fork of the starter, but the command line.
    """

    name: str
    words: tuple[str, ...]
    folder: Path
    closed: tuple[int, ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    out: str | None = None
    err: str | None = None
    own_process: bool = False

    def __str__(self) -> str:
        return " ".join((self.name, *self.words))


class Starter:
    """The client's side: starts commands one at a time, and may kill them."""

    def __init__(self, scratch: Path) -> None:
        self.out, self.err = scratch / "stdout", scratch / "stderr"
        environment = {**os.environ, **ENVIRONMENT}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what select says of the pipe is then all there is to read
            env=environment,
        )

    def close(self) -> None:
        """End the starter."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def run(self, command: Command, timeout: float = 60.0) -> Ended:
        """Let the command come to its end; one that does not within `timeout` s is killed."""
        with self.started(command) as running:
            return running.end(timeout)

    @contextlib.contextmanager
    def started(self, command: Command) -> Iterator[Running]:
        """The command as it runs; at the end of the block it is killed, if it has not ended."""
        running: Running
        if command.own_process:
            running = _Own(command, self.out, self.err)
        else:
            running = _Forked(command, self)
        try:
            yield running
        finally:
            running.kill()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request, wait for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        assert self._process.stdout is not None
        text = bytearray()
        while not text.endswith(b"\n") and (byte := self._process.stdout.read(1)):
            text += byte
        if not text:
            raise RuntimeError("the starter has died")
        return json.loads(text)


#: One thread, no display, nothing of a user's settings.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "GLOG_logtostderr": "1"}


class Running:
    """A command that was started; `pid` leads a session of its own."""

    pid: int

    def __init__(self, command: Command, out: Path, err: Path) -> None:
        self.command, self.out, self.err = command, out, err
        self.killed = False
        self._ended: Ended | None = None

    def _wait(self, timeout: float) -> tuple[int, float] | None:
        raise NotImplementedError

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._ended is None and self._collect(0.0) is None

    def resident_mb(self) -> float:
        """The memory that it has now, in MB; waits a moment."""
        time.sleep(0.01)
        with contextlib.suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
        return 0.0

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the signal to the whole session, and for SIGKILL wait for the end."""
        if self._ended is not None:
            return
        if number == signal.SIGKILL and self._collect(0.0) is None:
            self.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        if number == signal.SIGKILL:
            self._collect(30.0)

    def end(self, timeout: float = 60.0) -> Ended:
        """Wait for the end; after `timeout` s it is killed, and status is -9 with killed False."""
        if self._collect(timeout) is None:
            self.kill()
            self.killed = False
            assert self._ended is not None
            message = f"\nno end after {timeout:g} s"
            self._ended = Ended(-9, self._ended.out, self._ended.err + message)
        assert self._ended is not None
        return self._ended

    def _collect(self, timeout: float) -> Ended | None:
        if self._ended is None and (found := self._wait(timeout)) is not None:
            status, peak = found
            texts = [_read(self.out), _read(self.err)]
            self._ended = Ended(status, *texts, peak, self.killed)
        return self._ended


def _read(path: Path) -> str:
    return path.read_text(errors="backslashreplace") if path.is_file() else ""


class _Forked(Running):
    def __init__(self, command: Command, starter: Starter) -> None:
        super().__init__(command, starter.out, starter.err)
        self._starter = starter
        request = {
            "name": command.name,
            "words": command.words,
            "folder": str(command.folder),
            "closed": command.closed,
            "limits": command.limits,
            "out": command.out or str(starter.out),
            "err": command.err or str(starter.err),
        }
        self.pid = starter.ask(request)["pid"]

    def _wait(self, timeout: float) -> tuple[int, float] | None:
        import select

        pipe = self._starter._process.stdout
        ready, _, _ = select.select([pipe], [], [], timeout)
        if not ready:
            return None
        answer = self._starter.answer()
        return answer["status"], answer["peak"] / 1024


class _Own(Running):
    def __init__(self, command: Command, out: Path, err: Path) -> None:
        super().__init__(command, out, err)

        def prepare() -> None:  # in the child, before it becomes the command
            _restrict(command.limits, command.closed)

        words = commands.line(command.name, list(command.words))
        with open(command.out or out, "wb") as stdout, open(command.err or err, "wb") as stderr:
            self._process = subprocess.Popen(
                words,
                cwd=command.folder,
                env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(commands.ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=prepare,
            )
        self.pid = self._process.pid

    def _wait(self, timeout: float) -> tuple[int, float] | None:
        deadline = time.monotonic() + timeout
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return self._process.returncode, usage.ru_maxrss / 1024
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.005)


# --- the starter's own side ---


def _restrict(limits: Any, closed: Any) -> None:
    for name, value in limits:
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    for descriptor in closed:
        os.close(descriptor)


def _serve() -> None:
    commands.load()
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w", buffering=1)
    for text in requests:
        request = json.loads(text)
        folder = os.open(request["folder"], os.O_RDONLY)  # it may be gone before the child is
        pid = os.fork()
        if not pid:
            os.fchdir(folder)
            os.close(folder)
            os._exit(_child(request, (requests.fileno(), answers.fileno())))
        os.close(folder)
        answers.write(json.dumps({"pid": pid}) + "\n")
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        answers.write(json.dumps({"status": code, "peak": usage.ru_maxrss}) + "\n")


def _child(request: dict[str, Any], pipes: tuple[int, ...]) -> int:
    os.setsid()
    for pipe in pipes:
        os.close(pipe)
    become(request["out"], request["err"])
    _restrict(request["limits"], request["closed"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        if number in request["closed"]:
            setattr(sys, name, None)
    return finish(commands.function(request["name"], request["words"]))


def become(out: str, err: str) -> None:
    """Give this process the standard descriptors and signals of a fresh one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        handle = os.open(path, flags if number else os.O_RDONLY, 0o666)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def finish(main: Any) -> int:
    """Run a command's function and end as Python would: its exit status."""
    try:
        status = main()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int):
        if status is not None:
            print(status, file=sys.stderr)
        status = int(status is not None)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # as Python ends that could not write what was printed
        print(f"Exception ignored while flushing sys.stdout: {error}", file=sys.stderr)
        status = 120
    return status & 0xFF


if __name__ == "__main__":
    _serve()
