"""The stages of a study: what is run, on which files, to get from the data to the report.

    OUT/seed1/baseline            net, solver, log, snapshots
    OUT/seed1/round1/tpm.json     how straight the parent's kernels travelled
    OUT/seed1/round1/tpm          plan, net, weights, solver, log, snapshots of the split net
    OUT/seed1/round1/inverse ...  the controls, from the same parent

A round's parent is the baseline, or what `tpm` of the round before has become. To list the
stages takes nothing but the standard library, so that a workflow engine can do so in an
environment of its own.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netgen.schema import read_json
from study.settings import DATA_SETS, FILE, Settings, net_words, option_words
from study.settings import words as study_words
from study.stage import Command, Stage
from study.trainings import Training, testing_interval, trainings, window


def stages(settings: Settings, out: str) -> list[Stage]:
    """All Stages of the study in folder `out`, in an order in which they can run.

    Trainings that are left out, as their parents learnt nothing, have none.
    """
    found = []
    planned = [training for training in trainings(settings, out) if not training.left_out]
    for training in planned:
        make = _MAKERS.get(training.arm.net)  # other nets are there already
        own = [*(make(settings, training) if make else ()), _train(settings, training)]
        found += [replace(one, of=training.folder, begun=training.begun) for one in own]
    report = _study("report", out, makes=(f"{out}/report.md", f"{out}/report.html"))
    inputs = (f"{out}/{FILE}", *(training.record for training in planned))
    return [*found, Stage("report", (report,), inputs)]


def script(settings: Settings, out: str) -> list[str]:
    """The lines of shell that make the study from nothing, typed in an empty folder."""
    begin = shlex.join(["python", "-m", "study", *study_words(settings, out), "--list"])
    all_stages = stages(settings, out)
    folders = dict.fromkeys(folder for stage in all_stages for folder in stage.folders())
    return [
        _data_line(settings),
        f"{begin} > {shlex.quote(os.devnull)}",
        shlex.join(["mkdir", "-p", *folders]),
        *(str(command) for stage in all_stages for command in stage.commands),
    ]


def _data_line(settings: Settings) -> str:
    """The command that makes the images, as the manifest of their folder tells; else the usual."""
    if settings.is_file:
        return f"# what {settings.net} and {settings.solver} name must be here"
    folder = settings.data
    path = os.path.join(folder, "manifest.json")
    if not folder or not os.path.exists(path):
        words = ["python", "-m", "data_prep", *DATA_SETS.get(settings.net, "cifar10").split()]
        return shlex.join([*words, "--out", folder] if folder else words)
    made: dict[str, Any] = read_json(path)
    options, found = made["options"], ["python", "-m", "data_prep", made["dataset"]]
    if options.get("scale") is None:
        found.append("--raw")
    elif options.get("zca_bias") is None:
        found.append("--no-zca")
    for name in ("pad", "scale", "zca_bias", "limit", "seed"):
        if options.get(name) is not None:
            found += [f"--{name.replace('_', '-')}", f"{options[name]:g}"]
    return shlex.join([*found, "--out", folder])


def _command(module: str, words: tuple, makes: tuple[str, ...], stdout: str | None) -> Command:
    return Command(("python", "-m", module, *map(str, words)), makes, stdout)


def _netgen(*words: object, makes: tuple[str, ...] = (), stdout: str | None = None) -> Command:
    return _command("netgen", words, makes, stdout)


def _tool(
    name: str, *words: object, makes: tuple[str, ...] = (), stdout: str | None = None
) -> Command:
    return _command(f"caffe_tools.{name}", words, makes, stdout)


def _study(name: str, *words: object, makes: tuple[str, ...]) -> Command:
    return _command(f"study.{name}", words, makes, None)


def _net_stage(training: Training, make: Command, inputs: tuple[str, ...] = ()) -> Stage:
    """The net is made and described; in the first seed, those of the chain are drawn as well."""
    net, drawing = training.net, training.drawing
    commands = [make, _netgen("describe", net, "--json", stdout=training.description)]
    if training.is_first and training.in_chain:
        commands.append(_tool("draw_net", net, "-o", drawing, makes=(drawing,)))
    return Stage(f"{training.stage_name}_net", tuple(commands), inputs)


def _plain(s: Settings, training: Training) -> Iterator[Stage]:
    net = training.net
    if s.is_file:
        yield _net_stage(training, _study("own_net", s.net, "-o", net, makes=(net,)), (s.net,))
    else:
        yield _net_stage(training, _netgen(*net_words(s), "-o", net, makes=(net,)))


def _wider(s: Settings, training: Training) -> Iterator[Stage]:
    net, like = training.net, training.child.net
    words = (like, "-o", net, "--", s.net, *option_words(s))
    yield _net_stage(training, _study("wider_net", *words, makes=(net,)), (like,))
    if training.arm.start == "widened":
        parent, start = training.parent, training.start
        words = (parent.net, parent.weights, net, "--seed", training.seed, "-o", start)
        command = _study("net2wider", *words, makes=(start,))
        inputs = (parent.net, parent.record, net)
        name = f"{training.stage_name}_transfer"
        yield Stage(name, (command,), inputs, passing=(start,))


def _split(s: Settings, training: Training) -> Iterator[Stage]:
    parent, plan, net = training.parent, training.plan, training.net
    if training.in_chain:
        yield _tpm(s, training)
    measured, plot = training.measured, training.plot
    commands = [_plan(s, training)]
    if training.in_chain:
        commands.append(_tool("plot_tpm", measured, "--plan", plan, "-o", plot, makes=(plot,)))
    inputs = (measured,) if training.arm.choose == "entropy" else (measured, training.child.plan)
    yield Stage(f"{training.stage_name}_plan", tuple(commands), inputs)

    name = f"round{training.round}_{training.name}"
    words = ("split", parent.net, "--plan", plan, "--name", name, "-o", net)
    yield _net_stage(training, _netgen(*words, makes=(net,)), (parent.net, plan))

    start, pre = training.start, training.arm.pre
    weights, state, makes = training.parent_weights, training.state, [start]
    init = s.init if pre == "sharpened" else "preserve"
    words = (parent.net, weights, "--plan", plan, "--init", init, "--seed", training.seed)
    commands = []
    if pre != "sharpened":
        words += ("--residual-pre", pre)
    if pre == "gradient":
        found = training.gradient
        words += ("--gradient", found)
        of = (parent.solver, "--weights", weights, "-o", found)
        commands.append(_study("gradient", *of, makes=(found,)))
    if state:
        words += ("--history", parent.state_at(training.begin), "--history-out", state)
        makes.append(state)
    commands.append(_netgen("transfer", *words, "-o", start, makes=tuple(makes)))
    if training.in_chain:
        words = (parent.net, weights, net, start, "--json")
        commands.append(_tool("verify_split", *words, stdout=training.verified))
    inputs = (parent.net, parent.record, plan, net)
    name, passing = f"{training.stage_name}_transfer", (*makes, training.gradient)
    yield Stage(name, tuple(commands), inputs, passing=passing)


_MAKERS = {"plain": _plain, "wider": _wider, "split": _split}


def _tpm(s: Settings, training: Training) -> Stage:
    parent, measured = training.parent, training.measured
    snapshots = map(parent.weights_at, window(s, parent.iterations)[1])
    words = ("tpm", parent.net, *snapshots, "--solver", parent.solver, "--json", measured)
    command = _netgen(*words, makes=(measured,), stdout=training.measured_table)
    name = f"seed{training.seed}_round{training.round}_tpm"
    return Stage(name, (command,), (parent.net, parent.record))


def _plan(s: Settings, training: Training) -> Command:
    arm, named = training.arm, s.layers[training.round - 1 : training.round]
    choice = ("--layers", ",".join(named[0])) if named else ("--factor", s.factor)
    if arm.choose != "entropy":
        choice = ("--choose", arm.choose, "--like", training.child.plan)
    words = (training.measured, *choice, "--kind", s.kind, "--partition", arm.partition)
    if training.draw:
        words += ("--seed", 1000 * training.round + 10 * training.seed + training.draw)
    return _netgen("plan", *words, "-o", training.plan, makes=(training.plan,))


def _train(s: Settings, training: Training) -> Stage:
    solver, record = training.solver, training.record
    start = ("--weights", training.start) if training.start else ()
    if training.state:
        start += ("--state", training.state)
    if s.split_at and training.parent is None:
        start += ("--keep-state", s.split_at)
    words = (solver, *start, "--log", training.log, "--keep", _kept(s, training), "-o", record)
    train = _study("train_to_end", *words, makes=(record,))
    inputs = {
        "fresh": (training.net,),
        "transfer": (training.net, training.start),
        "widened": (training.net, training.start),
        # The parent's weights are no stage's output, but its record is written after them.
        "parent": (training.net, training.parent and training.parent.record),
    }[training.arm.start]
    if training.arm.budget == "cost":
        inputs += (training.child.net, training.parent.solver)
    elif s.is_file:
        inputs += (s.solver,)
    return Stage(f"{training.stage_name}_train", (_solver(s, training), train), inputs, trains=True)


def _kept(s: Settings, training: Training) -> str:
    """The snapshots to keep: those that TPM is measured over; of a control none but the last."""
    if training.begin or not training.in_chain:
        return "last"
    kept = window(s, training.iterations)[1]
    return f"{kept[0]}-{kept[-1]}"


def _solver(s: Settings, training: Training) -> Command:
    solver, n = training.solver, training.iterations
    rate: tuple = ("--base-lr", s.base_lr, "--lr-policy", s.lr_policy)
    if training.arm.rate == "end":
        rate = ("--base-lr", f"{s.base_lr / 1000:g}", "--lr-policy", "fixed")
    measured = training.in_chain and not training.begin
    interval = window(s, n)[0] if measured else min(n, 10_000)
    last = (
        *("--display", min(100, max(1, n // 40)), "--snapshot", interval),
        *("--random-seed", 1000 * training.round + training.seed),
        *("--prefix", training.prefix, "-o", solver),
    )
    tested = s.test_interval or testing_interval(n)
    if training.arm.budget == "cost":  # its length is known once the child is there
        tests = ("--test-interval", s.test_interval) if s.test_interval else ()
        words = (training.parent.solver, "--net", training.net, "--iterations", n)
        words += ("--cost-of", training.child.net, *tests, *last)
        return _study("solver", *words, makes=(solver,))
    if s.is_file:
        words = (s.solver, "--net", training.net, "--iterations", n, *rate)
        return _study("solver", *words, "--test-interval", tested, *last, makes=(solver,))
    tests = ("--test-size", s.test_size, "--test-batch-size", s.test_batch_size)
    words = ("--net", training.net, "--max-iter", n, *tests, *rate, "--test-interval", tested)
    if training.start and not s.is_allcnn:  # the recipe may be without the test right after a split
        words += ("--test-initialization", "true")
    return _netgen("solver", s.net, *words, *last, makes=(solver,))
