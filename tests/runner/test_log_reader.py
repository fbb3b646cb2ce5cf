"""The same events must read the same, whoever logged them and however the file ended."""

import bz2
import gzip
import json
import lzma
import random
import re
import subprocess
from math import inf, nan

import pytest

from runner.log import Log, LogError


def read(path):
    log = Log(path)
    log.read()
    return log


@pytest.fixture
def parse(tmp_path):
    """parse(text): the Log of a file with that text (or bytes)."""

    def parse(text):
        path = tmp_path / "some.log"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path)

    return parse


@pytest.fixture
def events(writer):
    def events(**style):
        log = writer(**style).solving("AlexNet")
        log.test(0, ("accuracy", "0.1"), ("loss", "2.30314", 1))
        log.display(0, "2.3049", ("loss", "2.3049", 1), rate="0.05")
        log.display(100, "1.7", ("loss", "1.71", 1), rate="0.05")
        log.test(200, ("accuracy", "0.9028"), ("loss", "0.345", 1))
        log.display(200, "1e-05", ("loss", "-nan", 1), rate="5e-05")
        return log.final_loss(300, "0.5").done()

    return events


def tables(run):
    return [run.loss, run.train, *(run.tests[net] for net in sorted(run.tests))]


def told(log, seconds=True):
    """All that was read, in a form that compares (nan as text)."""
    return repr(
        [
            (run.net, run.ended)
            + tuple(
                (
                    table.iterations,
                    table.seconds if seconds else None,
                    table.rates,
                    table.outputs(),
                    table.weights,
                )
                for table in tables(run)
            )
            for run in log.runs
            if len(run)
        ]
    )


def test_rows(parse, events):
    log = parse(events().text())
    run = log.training()
    assert (run.net, run.ended, log.ended) == ("AlexNet", "done", "done")
    assert run.loss.iterations == [0, 100, 200, 300]
    assert run.loss.outputs() == {"loss": [2.3049, 1.7, 1e-05, 0.5]}
    assert run.loss.rates == [0.05, 0.05, 5e-05, 5e-05]
    assert run.train.iterations == [0, 100, 200]
    assert repr(run.train.outputs()) == repr({"loss": [2.3049, 1.71, nan]})
    assert run.train.rates == [0.05, 0.05, 5e-05]
    test = run.tests[0]
    assert test.iterations == [0, 200]
    assert test.outputs() == {"accuracy": [0.1, 0.9028], "loss": [2.30314, 0.345]}
    assert test.weights == {(1, "loss"): 1.0}
    assert test.rates == [0.05, 0.05]  # of the updates before the test


def test_seconds_count_from_the_solving_line(parse, events):
    run = parse(events(style="old").text()).training()
    # 2 lines and a second, or two, after it: a row's time is that of its first output.
    assert run.tests[0].seconds[0] == 1.003
    assert run.loss.seconds[0] == 3.005
    assert run.train.seconds[0] == 3.006
    assert run.seconds == run.loss.seconds[-1] + 0.001 * 2  # two lines on: Done of caffe.cpp


@pytest.mark.parametrize("year", [False, True])
@pytest.mark.parametrize("style", ["old", "new", "nvidia"])
def test_every_dialect_reads_the_same(parse, events, style, year):
    reference = told(parse(events(style="new").text()), seconds=False)
    assert told(parse(events(style=style, year=year).text()), seconds=False) == reference
    if style != "nvidia":  # which logs more lines, so that more time passes here
        with_seconds = told(parse(events(style=style, year=year).text()))
        assert with_seconds == told(parse(events(style="new").text()))


def test_without_prefix_only_the_times_are_missing(parse, events):
    log = parse(events(prefix=False).text())
    reference = parse(events().text())
    assert told(log, seconds=False) == told(reference, seconds=False)
    assert set(map(repr, log.training().loss.seconds)) == {"nan"}


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n\n"])
def test_line_ends(parse, events, end):
    assert told(parse(events().text(end))) == told(parse(events().text()))


def test_noise_around_and_before_lines(parse, events):
    clean = told(parse(events().text()))
    bar = "\r 50%|█████     | 5/10 [00:01<00:01,  3.2it/s]"
    noisy = "".join(f"{bar}\r\x1b[K{line}\n{bar}" for line in events().lines)
    assert told(parse(noisy)) == clean
    garbage = random.Random(0).randbytes(3000) + b"\x00" * 3000
    broken = b"".join(garbage + b" ] = \n" + line.encode() + b"\n" for line in events().lines)
    assert told(parse(garbage + broken + garbage)) == clean
    stuck = b"".join(bar.encode() + line.encode() + b"\n" for line in events().lines)
    assert told(parse(stuck)) == clean  # a bar that did not even end its line


#: What stands before glog's own prefix where another program has taken the output; {i} counts.
BEFORE = {
    "DIGITS": "2025-11-25 10:00:00 [20251125-095900-ab12] [DEBUG] ",
    "docker": "2025-11-25T10:00:00.123456789Z ",
    "kubernetes": "2025-11-25T10:00:00.123456789Z stderr F ",
    "compose": "trainer_1  | ",
    "syslog": "Nov 25 10:00:00 host caffe[123]: ",
    "journal": "nov. 25 10:00:00 host python3[1]: ",
    "jenkins": "[2025-11-25T10:00:00.123Z] ",
    "logging": "INFO:root:",
    "logging with a date": "[2025-11-25 10:00:00,123][train][INFO] - ",
    "loguru": "2025-11-25 10:00:00.123 | INFO     | caffe:log:12 - ",
    "mpirun": "[1,0]<stderr>:",
    "Intel MPI": "[0] ",
    "srun": "0: ",
    "torchrun": "[default0]:",
    "ts": "Nov 25 10:00:00 ",
    "grep": "train.log:{i}:",
    "numbers": "{i}: ",
    "tqdm": " 45%|####5     | 45/100 [00:01<00:20,  4.5it/s]",
    "screen": "\x1b[?25l\x1b[K",
    "title": "\x1b]0;train\x07",
    "mail": "> ",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_prefixes_of_other_programs(parse, events, before):
    lines = [before.format(i=i) + line for i, line in enumerate(events().lines, 1)]
    assert told(parse("\n".join(lines) + "\n")) == told(parse(events().text()))


def test_lines_without_glogs_prefix_have_the_time_of_another(parse, events):
    """As DIGITS' own log, or that of a script's logging."""
    lines = events(prefix=False).lines
    dated = [f"2025-11-25 10:{i:02}:00,500 INFO caffe: {line}" for i, line in enumerate(lines)]
    log = parse("\n".join(dated) + "\n")
    assert told(log, seconds=False) == told(parse(events().text()), seconds=False)
    zero = lines.index("Starting Optimization") + 1
    first = next(i for i, line in enumerate(lines) if "net output" in line)
    assert log.training().tests[0].seconds[0] == 60 * (first - zero)


def test_abseils_time_before_it_is_told_to_log(parse, events):
    lines = [
        f"I0000 00:00:{1764064800 + i}.250000   12345 {line.partition('12345 ')[2]}"
        for i, line in enumerate(line for line in events().lines if "] " in line)
    ]
    lines.append(f"I0000 00:00:{'9' * 400}.250000 12345 solver.cpp:1] Iteration 400, loss = 1")
    run = parse("\n".join(lines) + "\n").training()
    assert run.tests[0].seconds == [3.0, 12.0]
    whole = parse(events().text()).training().loss.outputs()["loss"]
    assert run.loss.outputs()["loss"] == [*whole, 1.0]


def test_dockers_json(parse, events):
    lines = [
        json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2025-11-25T10:00:00.1Z"})
        for line in events().lines
    ]
    odd = ['{"log":"cut', '{"log":1,"time":' + "[" * 60_000, "[]", '{"log":"\\ud800"}']
    text = "\n".join([*lines[:5], *odd, *lines[5:]]) + "\n"
    assert told(parse(text.replace('": "', '":"'))) == told(parse(events().text()))


def test_lines_of_two_loggers_count_once(parse, events):
    twice = "".join(f"{line}\n{line}\n" for line in events().lines)
    assert told(parse(twice)) == told(parse(events().text()))


@pytest.mark.parametrize("prefix", ["[1,{}]<stderr>:", "[{}] ", "{}: "])
def test_of_several_processes_the_one_that_tells_an_iteration_first(parse, events, prefix):
    lines = events().lines
    other = [line.replace("0.9028", "0.1").replace("1.7", "1.8") for line in lines]
    begun = [prefix.format(1) + line for line in lines[:4]]
    both = [
        prefix.format(rank) + line
        for pair in zip(lines, other, strict=True)
        for rank, line in zip((2, 1), pair, strict=True)
    ]
    assert told(parse("\n".join([*begun, *both]) + "\n")) == told(parse(events().text()))


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16(parse, events, order, mark):
    text = "\ufeff" * mark + events().text("\r\n")
    assert told(parse(text.encode(f"utf-16-{order}"))) == told(parse(events().text()))


def test_decimal_commas_are_refused(parse, events):
    log = parse(re.sub(r"(= -?\d)\.(\d)", r"\1,\2", events().text()))
    with pytest.raises(LogError) as caught:
        log.training()
    assert str(caught.value) == (
        f"{log.path}: its numbers have a comma for the point (0,1); "
        r"sed -E 's/([0-9]),([0-9])/\1.\2/g' makes a log of it that can be read"
    )
    mended = subprocess.run(
        ["sed", "-E", r"s/([0-9]),([0-9])/\1.\2/g", log.path], capture_output=True, check=True
    )
    assert told(parse(mended.stdout)) == told(parse(events().text()))


def test_other_lines_with_numbers_are_not_rows(parse, events):
    lines = events().lines
    lines[8:8] = [
        "I1122 10:00:03.100000 1 sgd_solver.cpp:99] Gradient clipping: scaling down gradients",
        "I1122 10:00:03.100000 1 sgd_solver.cpp:556] MultiStep Status: Iteration 100, step = 1",
        "I1122 10:00:03.100000 1 caffe.cpp:404] Iteration: 7 forward-backward time: 3 ms.",
        "I1122 10:00:03.100000 1 caffe.cpp:313] Batch 0, accuracy = 0.5",
        "I1122 10:00:03.100000 1 solver.cpp:401] Test loss: 0.4",
        "I1122 10:00:03.100000 1 data_transformer.cpp:608] Using online data augmentation ...",
    ]
    assert told(parse("\n".join(lines) + "\n")) == told(parse(events().text()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nan", nan), ("-nan", nan), ("inf", inf), ("-inf", -inf), ("-7e-08", -7e-08),
        ("1.#QNAN", nan), ("-1.#IND", nan), ("1.#INF", inf), ("-nan(ind)", nan),
        ("0.5, remaining 2 hours", 0.5), ("3", 3.0),
    ],
)  # fmt: skip
def test_numbers(parse, text, value):
    log = parse(f"I1122 10:00:00.000000 1 s.cpp:1] Iteration 5, loss = {text}\n")
    assert repr(log.training().loss.outputs()) == repr({"loss": [value]})


@pytest.mark.parametrize("rate", ["-0.382098", "-1.58519e-33", "nan", "inf", "-6.13183e+25"])
def test_odd_speeds(parse, rate):
    log = parse(f"] Iteration 20 ({rate} iter/s, 0.001s/1 iters), loss = 1.7\n")
    assert log.training().loss.outputs() == {"loss": [1.7]}


def test_outputs_of_several_numbers_and_several_nets(parse, writer):
    log = writer().solving()
    for iteration in (0, 10):
        log.test(iteration, ("per_class", "0.5"), ("per_class", "0.25"), ("top-1", "0.4"))
        log.test(iteration, ("top-1", "0.9"), net=1)
        log.display(iteration, "1", ("loss1", "2", 0.3), ("loss2", "1", 1))
    run = parse(log.text()).training()
    assert run.tests[0].outputs() == {
        "per_class[0]": [0.5, 0.5], "per_class[1]": [0.25, 0.25], "top-1": [0.4, 0.4]
    }  # fmt: skip
    assert run.tests[1].outputs() == {"top-1": [0.9, 0.9]}
    assert run.train.weights == {(0, "loss1"): 0.3, (1, "loss2"): 1.0}
    assert run.train.iterations == run.tests[1].iterations == [0, 10]


def test_a_row_may_lack_values(parse, example):
    lines = [line for line in example().lines if "output #1: loss" not in line or "0.76" in line]
    run = parse("\n".join(lines) + "\n").training()
    assert run.tests[0].outputs()["accuracy"] == [0.1, 0.8, 0.7]
    assert run.tests[0].outputs()["loss"] == [None, None, 0.766667]


def test_every_cut_gives_the_rows_before_it(tmp_path, events):
    """No number is ever cut short: what is read is a prefix of what the whole log says."""
    whole = events().text().encode()
    path = tmp_path / "cut.log"
    path.write_bytes(whole)
    full = tables(read(path).training())
    for cut in range(0, len(whole), 5):
        path.write_bytes(whole[:cut])
        for run in read(path).runs:
            for table, reference in zip(tables(run), full, strict=False):
                assert table.iterations == reference.iterations[: len(table)]
                for label, values in table.outputs().items():
                    shown = reference.outputs()[label][: len(values)]
                    if None in values:  # only ever the last
                        shown[-1] = None
                    assert repr(values) == repr(shown)


def test_growing_in_pieces_reads_the_same(tmp_path, events):
    whole, pieces = events().text().encode(), random.Random(1)
    path = tmp_path / "grows.log"
    path.touch()
    log, written = Log(path), 0
    assert not log.read()
    while written < len(whole):
        piece = whole[written : written + pieces.randrange(1, 300)]
        with path.open("ab") as file:
            file.write(piece)
        written += len(piece)
        assert log.read()
    assert not log.read()
    path.write_bytes(whole)
    assert told(log) == told(read(path))


def test_a_replaced_file_is_read_anew(tmp_path, example):
    path = tmp_path / "again.log"
    log = Log(example(net="first").write(path))
    log.read()
    example(net="second", start="2016-11-22 12:00:00", accuracies=("0.5",) * 9).write(path)
    assert log.read()
    assert [run.net for run in log.runs] == ["second"]
    example(net="third", accuracies=("0.5",)).write(path)  # shorter than before
    assert log.read()
    assert [run.net for run in log.runs] == ["third"]


def test_last_line_without_its_end(parse, example):
    text = example().text()
    assert parse(text + "I1122 10:00:09.000000 1 s.cpp:1] Optimization Done.").ended == "done"
    assert parse(text + "I1122 10:00:09.000000 1 s.cpp:1] Optimization D").ended is None
    cut = parse(text + "I1122 10:00:09.000000 1 s.cpp:1] Iteration 300, loss = 1.2")
    assert cut.training().loss.iterations == [0, 100, 200]


@pytest.mark.parametrize(
    ("lines", "ended"),
    [
        ([], None),
        (["Optimization Done."], "done"),
        (["Optimization Done in 1m 2s"], "done"),
        (["Optimization stopped early.", "Optimization Done."], "stopped"),
        (["Check failed: error == cudaSuccess (2 vs. 0)  out of memory",
          "*** Check failure stack trace: ***"], "failed"),
    ],
)  # fmt: skip
def test_how_it_ended(parse, example, lines, ended):
    log = example()
    for line in lines:
        log.line(line)
    assert parse(log.text()).ended == ended


def test_a_fatal_line_ends_a_run(parse, example):
    fatal = "F1122 10:00:09.000000 1 caffe.cpp:439] Unknown layer type: X (layer 'a')\n"
    assert parse(fatal).ended == "failed"
    assert parse(example().text() + fatal).ended == "failed"


def test_runs_begin_at_markers_and_where_iterations_go_back(parse, example):
    first, resumed = example(net="A"), example(net="B")
    both = parse(first.text() + resumed.text())
    assert [run.net for run in both.runs] == ["A", "B"]
    unmarked = [line for line in resumed.lines if "Iteration" in line or "output" in line]
    log = parse(first.text() + "\n".join(unmarked) + "\n")
    assert [len(run) for run in log.runs] == [9, 9]
    solving_again = parse(first.done().text() + example().solving().text())
    assert solving_again.ended is None  # set up anew after its end: it goes on


def test_without_a_solving_line_time_starts_at_the_first_row(parse, events):
    lines = [line for line in events().lines if "Solving" not in line and "Starting" not in line]
    run = parse("\n".join(lines) + "\n").training()
    assert run.tests[0].seconds[0] == 0
    assert run.loss.seconds[0] == 2.002
    tail = parse("\n".join(lines[8:]) + "\n").training()  # begins with outputs of who knows what
    assert tail.train.iterations == [100, 200]


@pytest.mark.parametrize("year", [False, True])
@pytest.mark.parametrize(
    "start", ["2016-12-31 23:59:58", "2016-02-28 23:59:58", "2015-02-28 23:59:58"]
)
def test_time_goes_on_over_midnight_leap_days_and_new_year(parse, writer, start, year):
    log = writer(year=year, start=start).solving()
    for day in range(3):
        log.display(day, "1", ("loss", "1", 1)).wait(86400 - 2.003)
    seconds = parse(log.text()).training().loss.seconds
    assert [round(second - seconds[0], 3) for second in seconds] == [0, 86400, 172800]


def test_impossible_stamps_are_no_times(parse):
    log = parse("I1399 10:00:00.000000 1 s.cpp:1] Iteration 5, loss = 1\n")
    assert repr(log.training().loss.seconds) == "[nan]"


def test_errors_are_one_line(tmp_path, parse):
    with pytest.raises(LogError, match=r"^.*absent\.log: No such file or directory$"):
        Log(tmp_path / "absent.log").read()
    for device in ("/dev/null", "/dev/zero"):
        with pytest.raises(LogError, match=f"^{device}: a device or a pipe; a log is a file$"):
            Log(device).read()
    with pytest.raises(LogError, match=r": Is a directory$"):
        Log(tmp_path).read()
    for text in ("", "not a log\n", b"\xff\xfe\x00" * 99):
        with pytest.raises(LogError, match=r"some\.log: no iterations found; is it a Caffe"):
            parse(text).training()


def behind(events, prefix):
    """The events without glog's prefix but behind another logger's, a second a line."""
    lines = events(prefix=False).lines
    return "".join(
        prefix.format(second=second % 60, minute=second // 60) + line + "\n"
        for second, line in enumerate(lines)
    )


@pytest.mark.parametrize(
    "prefix",
    [
        "2016-04-12 09:{minute:02}:{second:02},123 - train - INFO - ",
        "2016-04-12 09:{minute:02}:{second:02} [20160412-091500-7d2a] [INFO ] ",
        "2016-04-12T09:{minute:02}:{second:02}.123456Z INFO ",
        "[2016-04-12 09:{minute:02}:{second:02}] ",
        "INFO:root:",
        "caffe_1  | ",
    ],
)
def test_behind_the_prefix_of_another_logger(parse, events, prefix):
    log = parse(behind(events, prefix))
    assert told(log, seconds=False) == told(parse(events(prefix=False).text()), seconds=False)
    if prefix.startswith(("2016", "[2016")):
        training = log.training()
        assert training.tests[0].seconds[1] > training.tests[0].seconds[0] > 0


@pytest.mark.parametrize(
    "codes", [("\x1b[32m", "\x1b[0m"), ("\x1b[1;31m", "\x1b[m"), ("[32m", "[0m")]
)
def test_in_the_colours_of_a_terminal(parse, events, codes):
    head, reset = codes
    text = "".join(line.replace("] ", f"] {head}", 1) + f"{reset}\n" for line in events().lines)
    assert told(parse(text)) == told(parse(events().text()))


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: gzip.compress(text.encode()),
        lambda text: gzip.compress(text.encode("utf-16")),
        lambda text: bz2.compress(text.encode()),
        lambda text: lzma.compress(text.encode()),
    ],
)
def test_encodings_and_compression(parse, events, encode):
    reference = told(parse(events().text()))
    log = parse(encode(events().text("\r\n")))
    assert told(log) == reference
    assert not log.read()
    assert told(log) == reference


def test_a_compressed_log_that_was_cut_is_read_as_far_as_it_goes(parse, writer):
    log = writer().solving()
    for iteration in range(3000):
        log.display(iteration, str(hash(str(iteration)) % 100_000 / 1000))
    data = gzip.compress(log.text().encode())
    assert 100 < len(parse(data[: len(data) // 2]).training().loss) < 3000
    with pytest.raises(LogError, match="cannot be decompressed"):
        parse(b"\x1f\x8bno such thing")


def test_lines_of_2013(parse):
    stamp = "I1103 10:00:0{}.000000 99 solver.cpp:60] "
    messages = ["Solving old", "Iteration 0, Testing net", "Test score #0: 0.11",
                "Test score #1: 2.4", "Iteration 0, loss = 2.4", "Iteration 500, Testing net",
                "Test score #0: 0.63", "Test score #1: 0.9", "Iteration 500, loss = 1.1"]  # fmt: skip
    run = parse("".join(f"{stamp.format(i)}{m}\n" for i, m in enumerate(messages))).training()
    assert run.tests[0].outputs() == {"score #0": [0.11, 0.63], "score #1": [2.4, 0.9]}
    assert run.tests[0].iterations == run.loss.iterations == [0, 500]
    assert [series.label for series in run.accuracies()] == ["score #0"]
    assert [series.values for series in run.test_losses()] == [[2.4, 0.9]]


def test_outputs_that_cannot_be_read_are_counted(parse, events):
    lines = events().lines
    lost = "I1122 10:00:00.000000 1 s.cpp:1]     Test net output #0: accuracy = "
    log = parse("\n".join([lost + "0.5", *lines[:-2], lost + "?", lost.rstrip(" =")]) + "\n")
    assert log.unread == 3
    assert log.complaint.endswith(f"the first: {lost}0.5")
    assert told(log) == told(parse("\n".join(lines[:-2]) + "\n"))
    assert parse(events().text()).complaint == ""
