"""One parser and one way to fail, of every command of the project."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netgen.commandline import INTERRUPTED, READER_GONE, Parser, exit_status, run
from netgen.errors import CaffeError, line_of

ROOT = Path(__file__).parents[2]
MODULES = ["netgen", "data_prep", "study", "runner"]
COMMANDS = [
    *([sys.executable, "-m", module] for module in MODULES),
    *(
        [sys.executable, "-m", "netgen", command, "x"]
        for command in ("solver", "describe", "generate", "plan", "split", "tpm", "transfer")
    ),
    *(
        [sys.executable, "-m", "data_prep", command]
        for command in ("cifar10", "mnist", "synthetic", "verify", "apply")
    ),
    *(
        [sys.executable, str(path)]
        for path in sorted((ROOT / "tools").glob("*.py"))
        if path.name != "checkout.py"
    ),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: "-".join(words[1:]).split("/")[-1])
def test_a_mistyped_flag_is_one_line_and_status_1(command, tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, "--no-such-flag"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, ""), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words, message",
    [
        (["--nets"], "unrecognized arguments: --nets"),
        (["--count", "x"], "argument --count: invalid int value: 'x'"),
        (["--count"], "argument --count: expected one argument"),
        (["a\nb"], "unrecognized arguments: a b"),
    ],
)
def test_the_parser_fails_in_one_line(words, message, capsys):
    parser = Parser(prog="tool")
    parser.add_argument("--count", type=int)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(words)
    assert stop.value.code == 1
    assert capsys.readouterr().err == f"tool: {message} (--help tells more)\n"


class Missing(CaffeError):
    status = 3


@pytest.mark.parametrize(
    "error, status, line",
    [
        (CaffeError("net.prototxt: no layer"), 1, "net.prototxt: no layer"),
        (Missing("no data"), 3, "no data"),
        (FileNotFoundError(2, "No such file or directory", "a.log"), 1,
         "a.log: No such file or directory"),
        (OSError("odd"), 1, "odd"),
        (MemoryError(), 1, "out of memory"),
        (RuntimeError("CUDA out of memory. Tried\nmore"), 1, "CUDA out of memory. Tried"),
    ],
)  # fmt: skip
def test_what_a_user_can_mend_is_told_in_a_line(error, status, line):
    def main():
        raise error

    told = []
    assert exit_status(main, told.append) == status
    assert told == [line]


def test_what_only_a_programmer_can_mend_keeps_its_traceback():
    assert line_of(KeyError("x")) is None

    def main():
        raise KeyError("x")

    with pytest.raises(KeyError):
        exit_status(main, print)


def test_an_interrupt_is_silent(capsys):
    def main():
        raise KeyboardInterrupt

    assert exit_status(main, print) == INTERRUPTED
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("status", [None, 0, 4])
def test_the_status_is_what_main_returns(status):
    with pytest.raises(SystemExit) as stop:
        run(lambda: status)
    assert stop.value.code == (status or 0)


def _python(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, cwd=ROOT, **options
    )


def test_a_reader_that_went_away_is_silent():
    read, write = os.pipe()
    os.close(read)
    done = _python("from netgen.commandline import run; run(lambda: print('x' * 10))", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (READER_GONE, "")


full_device = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


@full_device
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "work",
    [
        "print('x' * 10)",
        "print('x' * 100_000)",
        "say('x')",
        "sys.stdout.buffer.write(b'x')",
        "Parser().parse_args(['--help'])",
    ],
)
def test_a_full_disk_behind_stdout_is_one_line(work, unbuffered):
    code = f"""
import sys
from netgen.commandline import Parser, run, say
run(lambda: {work} and None, 'tool')
"""
    with open("/dev/full", "w") as full:
        done = _python(code, stdout=full, env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    assert (done.returncode, done.stderr) == (1, "tool: stdout: No space left on device\n")


def test_a_name_that_the_locale_does_not_have_is_printed_with_escapes():
    code = "from netgen.commandline import run; run(lambda: print('d\\xe9 \\u4f60'), 'tool')"
    done = _python(code, stdout=subprocess.PIPE, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "d\\xe9 \\u4f60\n", "")


def test_a_word_that_is_no_text_is_one_line(tmp_path):
    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 } } }')
    words = [sys.executable, "-m", "netgen", "plan", net, "--layers", b"d\xe9"]
    done = subprocess.run(words, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert line_of(UnicodeEncodeError("utf-8", "d\udce9", 1, 2, "x")) == r"'d\351' is not UTF-8"


@full_device
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("netgen", ["baseline"]),
        ("netgen", ["describe", "prototxt/lenet_deploy.prototxt"]),
        ("netgen", ["baseline", "--help"]),
        ("data_prep", ["--help"]),
        ("study", ["--help"]),
        ("caffe", ["--version"]),
        ("caffe", ["--help"]),
    ],
)
def test_every_program_names_stdout_where_its_disk_is_full(program, words):
    module = "runner" if program == "caffe" else program
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("stdout: No space left on device\n")
