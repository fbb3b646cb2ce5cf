"""The stages of a study: what is run, on which files, to get from the data to the report.

    OUT/seed1/baseline            net, solver, log, snapshots
    OUT/seed1/round1/tpm.json     how straight the parent's kernels travelled
    OUT/seed1/round1/tpm          plan, net, weights, solver, log, snapshots of the split net
    OUT/seed1/round1/inverse ...  the controls, from the same parent

A round's parent is the baseline, or what `tpm` of the round before has become. Only the standard
library is needed to list the stages, so that a workflow engine of its own environment can.
"""

from study.settings import FILE
from study.stage import Command, Stage
from study.trainings import SPLITS, testing_interval, trainings, window


def stages(settings, out):
    """All Stages of the study in folder `out`, in an order in which they can run."""
    found, all_trainings = [], list(trainings(settings, out))
    for training in all_trainings:
        makers = {"baseline": _baseline, "wider": _wider}
        make = makers.get(training.arm, _grown if training.arm in SPLITS else _same_net)
        found += [*make(settings, training), _train(settings, training)]
    found.append(
        Stage(
            "report",
            (_study("report", out),),
            (f"{out}/{FILE}", *(training.record for training in all_trainings)),
            (f"{out}/report.md", f"{out}/report.html"),
        )
    )
    return found


def _netgen(*words, stdout=None):
    return Command(("python", "-m", "netgen", *map(str, words)), stdout)


def _tool(name, *words, stdout=None):
    return Command(("python", "-m", f"caffe_tools.{name}", *map(str, words)), stdout)


def _study(name, *words, stdout=None):
    return Command(("python", "-m", f"study.{name}", *map(str, words)), stdout)


def _describe(training):
    return _netgen("describe", training.net, "--json", stdout=training.description)


def _draw(training):
    """The chain's nets are drawn, of the first seed alone."""
    return (
        [_tool("draw_net", training.net, "-o", training.file("net.dot"))]
        if training.seed == 1 and training.arm in ("baseline", "tpm")
        else []
    )


def _net_stage(training, *commands, inputs=()):
    more = tuple(_draw(training))
    outputs = (training.net, training.description, *(word.words[-1] for word in more))
    return Stage(
        f"{training.stage_name}_net",
        (*commands, _describe(training), *more),
        tuple(inputs),
        outputs,
    )


def _net_words(s):
    dropout = () if s.dropout else ("--input-dropout", 0, "--dropout", 0)
    return (
        "--batch-size",
        s.batch_size,
        "--test-batch-size",
        min(100, s.test_size),
        "--data",
        s.data,
        *dropout,
    )


def _baseline(s, training):
    yield _net_stage(
        training, _netgen("baseline", "--width", s.width, *_net_words(s), "-o", training.net)
    )


def _wider(s, training):
    like = training.net.replace("/wider/", "/tpm/")
    yield _net_stage(
        training,
        _study("wider_net", like, "-o", training.net, "--", "baseline", *_net_words(s)),
        inputs=[like],
    )


def _same_net(s, training):
    return ()


def _grown(s, training):
    parent, measured = training.parent, f"{training.folder.rpartition('/')[0]}/tpm.json"
    plan, chain = training.file("plan.json"), training.arm == "tpm"
    if chain:
        yield _tpm(s, training, measured)
    yield Stage(
        f"{training.stage_name}_plan",
        tuple(_plan(s, training, measured, plan)),
        (measured,),
        (plan, training.file("tpm.png")) if chain else (plan,),
    )
    yield _net_stage(
        training,
        _netgen(
            "split",
            parent.net,
            "--plan",
            plan,
            "--name",
            f"round{training.round}_{training.arm}",
            "-o",
            training.net,
        ),
        inputs=[parent.net, plan],
    )
    transfer = _netgen(
        "transfer",
        parent.net,
        parent.weights,
        "--plan",
        plan,
        "--init",
        s.init,
        "--seed",
        training.seed,
        "-o",
        training.start,
    )
    verified = training.file("verify.json")
    verify = _tool(
        "verify_split",
        parent.net,
        parent.weights,
        training.net,
        training.start,
        "--json",
        stdout=verified,
    )
    yield Stage(
        f"{training.stage_name}_transfer",
        (transfer, verify) if chain else (transfer,),
        (parent.net, parent.record, plan, training.net),
        (training.start, verified) if chain else (training.start,),
    )


def _tpm(s, training, measured):
    parent = training.parent
    _, iterations = window(s, parent.iterations)
    snapshots = [f"{parent.prefix}_iter_{i}.caffemodel" for i in iterations]
    table = measured.replace(".json", ".txt")
    return Stage(
        f"seed{training.seed}_round{training.round}_tpm",
        (
            _netgen(
                "tpm",
                parent.net,
                *snapshots,
                "--solver",
                parent.file("solver.prototxt"),
                "--json",
                measured,
                stdout=table,
            ),
        ),
        (parent.net, parent.record),
        (measured, table),
    )


def _plan(s, training, measured, plan):
    named = s.layers[training.round - 1 : training.round]
    choice = ("--layers", ",".join(named[0])) if named else ("--factor", s.factor)
    partition = training.arm.rstrip("0123456789")
    words = ["--partition", partition]
    if partition == "random":
        draw = int(training.arm.removeprefix("random"))
        words += ["--seed", 1000 * training.round + 10 * training.seed + draw]
    yield _netgen("plan", measured, *choice, "--kind", s.kind, *words, "-o", plan)
    if training.arm == "tpm":
        yield _tool("plot_tpm", measured, "--plan", plan, "-o", training.file("tpm.png"))


def _train(s, training):
    solver, n = training.file("solver.prototxt"), training.iterations
    interval, kept = window(s, n)
    rate = ("--base-lr", s.base_lr, "--lr-policy", s.lr_policy)
    if training.arm == "continue":
        rate = ("--base-lr", f"{s.base_lr / 1000:g}", "--lr-policy", "fixed")
    parent_of_a_round = training.arm in ("baseline", "tpm")
    if not parent_of_a_round:  # snapshots only to go on from
        interval = min(n, 10_000)
    make = _netgen(
        "solver",
        "baseline",
        "--net",
        training.net,
        "--max-iter",
        n,
        "--test-size",
        s.test_size,
        "--test-batch-size",
        min(100, s.test_size),
        *rate,
        "--test-interval",
        testing_interval(n),
        "--display",
        min(100, max(1, n // 40)),
        "--snapshot",
        interval,
        "--random-seed",
        1000 * training.round + training.seed,
        "--prefix",
        training.prefix,
        "-o",
        solver,
    )
    start = ("--weights", training.start) if training.start else ()
    keep = f"{kept[0]}-{kept[-1]}" if parent_of_a_round else "last"
    train = _study(
        "train_to_end",
        solver,
        *start,
        "--log",
        training.log,
        "--keep",
        keep,
        "-o",
        training.record,
    )
    inputs = (training.net, *([training.start] if training.start else ()))
    if training.start and training.start == training.parent.weights:
        inputs = (training.net, training.parent.record)  # which is written after the weights
    return Stage(
        f"{training.stage_name}_train",
        (make, train),
        inputs,
        (solver, training.record),
        trains=True,
    )
