"""Settings, trainings and stages of a study: what is run, on what, for how long."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import study
from netgen.commands import render
from netgen.errors import CaffeError
from study.arms import ARMS, CHAIN, CONTROLS, NAMES, SPLIT, controls_named, find
from study.begin import settle
from study.plan import stages
from study.settings import SCALES, Settings, read_settings
from study.trainings import testing_interval as interval_of_tests
from study.trainings import trainings, window

FULL = replace(SCALES["full"], train_size=50_000, test_size=10_000)


def by_arm(settings, round_=1, seed=1):
    return {t.name: t for t in trainings(settings, "o") if (t.round, t.seed) == (round_, seed)}


def flag(stage, name):
    words = [word for command in stage.commands for word in command.words]
    return words[words.index(name) + 1]


def training_stages(settings):
    return {stage.name: stage for stage in stages(settings, "o") if stage.trains}


def test_every_input_is_an_earlier_output():
    for settings in (FULL, replace(SCALES["small"], rounds=3, control_rounds=2, test_size=70)):
        made = {"o/study.json"}
        found = stages(settings, "o")
        for stage in found:
            assert set(stage.inputs) <= made, stage.name
            assert not made & set(stage.outputs)
            made.update(stage.outputs)
        names = [stage.name for stage in found]
        assert len(set(names)) == len(names)
        assert all(name.isidentifier() for name in names)
        assert len([s for s in found if s.trains]) == len(list(trainings(settings, "o")))


def test_full_is_the_study():
    chain = [t for t in trainings(FULL, "o") if t.in_chain and t.seed == 2]
    assert [t.iterations for t in chain] == [136_719] * 3
    assert chain[1].parent == chain[0] and chain[2].parent == chain[1]
    assert window(FULL, 136_719) == (1000, list(range(115_000, 130_001, 1000)))
    stage = training_stages(FULL)["seed2_baseline_train"]
    solver = render.render([*map(str, stage.commands[0].words[3:-2])])
    for line in (
        "stepvalue: 78125",
        "stepvalue: 97656",
        "stepvalue: 117188",
        "base_lr: 0.05",
        "test_interval: 500",
        "snapshot: 1000",
        "max_iter: 136719",
        "random_seed: 2",
        "test_iter: 100",
    ):
        assert line in solver.splitlines()
    net = next(s for s in stages(FULL, "o") if s.name == "seed1_baseline_net").commands[0].words
    assert "--dropout" not in net
    assert flag(stage, "--keep") == "115000-130000"


def test_short_windows_are_the_last_third():
    assert window(SCALES["small"], 2400) == (53, [53 * i for i in range(30, 46)])
    assert window(SCALES["small"], 4) == (1, [1, 2, 3, 4])


def test_controls_differ_from_the_split_in_one_thing_each():
    settings = replace(SCALES["small"], iterations=(90, 30))
    found, (base,) = by_arm(settings), by_arm(settings, 0).values()
    assert tuple(found) == (SPLIT.name, *CONTROLS)
    made = {s.name: s for s in stages(settings, "o")}
    for name, training in found.items():
        arm, here = find(name)[0], f"o/seed1/round1/{name}"
        assert (training.arm, training.folder, training.parent) == (arm, here, base)
        budgets = {"round": 30, "baseline": 90, "total": 120, "cost": 30}
        assert training.iterations == budgets[arm.budget]
        start = {"parent": base.weights, "fresh": None}
        assert training.start == start.get(arm.start, f"{here}/start.caffemodel")
        net = {"parent": base.net, "child": found[SPLIT.name].net}.get(arm.net)
        assert training.net == (net or f"{here}/net.prototxt")
        stage = made[f"seed1_round1_{name}_train"]
        rates = {"schedule": ("0.02", "poly"), "end": ("2e-05", "fixed")}
        if arm.budget == "cost":  # the parent's solver, made longer
            assert flag(stage, "study.solver") == base.solver
            assert flag(stage, "--cost-of") == found[SPLIT.name].net
        else:
            assert (flag(stage, "--base-lr"), flag(stage, "--lr-policy")) == rates[arm.rate]
        if arm.net != "split":
            continue
        plan, carried = (made[f"seed1_round1_{name}_{what}"] for what in ("plan", "transfer"))
        assert flag(plan, "--partition") == arm.partition
        like = ("--choose", arm.choose, "--like", found[SPLIT.name].plan)
        words = plan.commands[0].words
        assert (arm.choose == "entropy") == ("--factor" in words) != (like == words[5:9])
        pre = "sharpened" if arm.pre == "sharpened" else flag(carried, "--residual-pre")
        assert pre == arm.pre and flag(carried, "--init") == "preserve"
    seeds = {
        flag(stage, "--random-seed")
        for name, stage in training_stages(SCALES["small"]).items()
        if name.startswith("seed3_round1")
    }
    assert seeds == {"1003"}


def test_draws_differ_between_seeds_rounds_and_one_another():
    settings = replace(SCALES["small"], rounds=2, control_rounds=2)
    drawn = [t for t in trainings(settings, "o") if t.draw]
    plans = {s.name: s for s in stages(settings, "o")}
    seeds = {(t.arm, flag(plans[f"{t.stage_name}_plan"], "--seed")) for t in drawn}
    draws = sum(arm.draws for arm in ARMS.values())
    assert len(seeds) == len(drawn) == settings.seeds * settings.rounds * draws


def test_rounds_build_on_each_other_and_have_controls_as_asked():
    settings = replace(
        SCALES["small"], rounds=2, control_rounds=2, layers=(("conv1", "conv2"), ("conv1_split2",))
    )
    second = by_arm(settings, 2)
    assert second["restart"].net == second["tpm"].parent.net == "o/seed1/round1/tpm/net.prototxt"
    assert second["wider"].iterations == 2400 + 2 * 800
    plans = {s.name: s for s in stages(settings, "o")}
    assert flag(plans["seed1_round1_tpm_plan"], "--layers") == "conv1,conv2"
    assert flag(plans["seed1_round2_inverse_plan"], "--layers") == "conv1_split2"
    assert list(by_arm(replace(settings, control_rounds=1), 2)) == ["tpm"]


def test_a_parent_that_is_split_within_its_training():
    settings = replace(FULL, rounds=1, split_at=50_000, arms=("random1", "wider"))
    assert window(settings, 136_719) == (1000, list(range(35_000, 50_001, 1000)))
    (base,), found = by_arm(settings, 0).values(), by_arm(settings)
    assert {t.iterations for t in (base, *found.values())} == {136_719}
    assert {name: t.begin for name, t in found.items()} == {
        "tpm": 50_000, "random1": 50_000, "wider": 0}  # fmt: skip
    made = {s.name: s for s in stages(settings, "o")}
    assert flag(made["seed1_baseline_train"], "--keep") == "35000-50000"
    assert flag(made["seed1_baseline_train"], "--keep-state") == "50000"
    at = "o/seed1/baseline/snapshot_iter_50000"
    for name in ("tpm", "random1"):
        words = made[f"seed1_round1_{name}_transfer"].commands[0].words
        assert {f"{at}.caffemodel", f"{at}.solverstate"} <= set(words)
        train = made[f"seed1_round1_{name}_train"]
        assert flag(train, "--state") == f"o/seed1/round1/{name}/start.solverstate"
        rates = (flag(train, "--base-lr"), flag(train, "--lr-policy"), flag(train, "--max-iter"))
        assert rates == ("0.05", "multistep", "136719")
    assert "--state" not in made["seed1_round1_wider_train"].commands[1].words


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"split_at": -1}, "split_at must lie within the baseline's 2400 iterations, not at -1"),
        ({"split_at": 2400}, "split_at must lie within the baseline's 2400 iterations, not at 2400"),
        ({"split_at": 900, "rounds": 2}, "split_at is for one round of splits, not 2"),
        ({"split_at": 900, "arms": ("wider", "restart", "fresh")},
         "with split_at the baseline itself is the parent that goes on: it leaves no sense to "
         "restart, fresh"),
        ({"split_at": 1999}, "split_at 1999 is no multiple of an interval of snapshots from 4 to "
         "39 iterations"),
    ],
)  # fmt: skip
def test_splits_within_a_training_that_make_no_sense(fields, line):
    with pytest.raises(CaffeError) as caught:
        replace(SCALES["small"], **{"arms": (), **fields})
    assert str(caught.value) == line


@pytest.mark.parametrize("iterations", [1, 7, 150, 300, 800, 2400, 3200])
def test_short_trainings_end_with_a_test(iterations):
    interval = interval_of_tests(iterations)
    assert iterations % interval == 0 and iterations // interval >= min(10, iterations)


def test_only_the_first_seeds_may_go_on_to_later_rounds():
    settings = replace(SCALES["small"], rounds=2, seeds=3, first_seed=2, arms=("restart",))
    shallow = replace(settings, deep_seeds=1)
    rounds = {(t.seed, t.round) for t in trainings(shallow, "o")}
    assert rounds == {(2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (4, 0), (4, 1)}
    assert {(t.seed, t.round) for t in trainings(settings, "o")} - rounds == {(3, 2), (4, 2)}


def test_arms_by_name():
    assert controls_named("all") == CONTROLS
    assert controls_named("none") == controls_named(SPLIT.name) == ()
    for arm in ARMS.values():
        if arm not in CHAIN:
            assert controls_named(arm.name) == arm.members
    assert controls_named("restart,random,random1") == ("restart", *ARMS["random"].members)
    assert controls_named("nobody") == ("nobody",)


def test_every_arm_is_a_row_of_the_table_and_documented():
    text = Path(study.__file__).with_name("README.md").read_text()
    documented = re.findall(r"^\| ([a-z0-9_, -]+) \| .* \| .* \| .* \|$", text, re.MULTILINE)
    rows = ", ".join(documented).split(", ")
    for arm in ARMS.values():
        shown = f"{arm.name}1-{arm.draws}" if arm.draws else arm.name
        assert shown in rows


def test_a_begun_study_keeps_what_it_was_begun_with(tmp_path, records):
    out = str(tmp_path / "o")
    given = {"scale": "tiny", "data": str(records), "iterations": (9, 5)}
    begun = settle(out, given)
    assert (begun.train_size, begun.test_size, begun.iterations) == (24, 10, (9, 5))
    assert settle(out, {}) == read_settings(out) == begun
    before = (tmp_path / "o/study.json").stat().st_mtime_ns
    assert settle(out, given) == begun
    assert (tmp_path / "o/study.json").stat().st_mtime_ns == before
    grown = settle(out, {"arms": ("wider",), "seeds": 4, "note": "n"})
    assert (grown.arms, grown.seeds, read_settings(out)) == (("wider",), 4, grown)
    with pytest.raises(
        CaffeError,
        match=r"o/study.json: this study was begun with width 0.125, "
        r"not 0.5; choose another --out$",
    ):
        settle(out, {"width": 0.5})


def test_settings_are_refused(tmp_path, records):
    with pytest.raises(
        CaffeError, match=f"not there, so --scale must be one of {', '.join(SCALES)}"
    ):
        settle(str(tmp_path), {"seeds": 3})
    with pytest.raises(CaffeError, match=rf"^unknown arm 'best' \(known: {', '.join(NAMES)}\)$"):
        replace(SCALES["tiny"], arms=("best",))
    with pytest.raises(CaffeError, match="^seeds must be at least 1, not 0$"):
        settle(str(tmp_path), {"scale": "tiny", "data": str(records), "seeds": 0})
    with pytest.raises(CaffeError, match="^iterations must be at least 1, not -2$"):
        replace(SCALES["tiny"], iterations=(5, -2))
    for name, most in (("rounds", 100), ("seeds", 10_000), ("batch_size", 2**31 - 1)):
        with pytest.raises(CaffeError, match=f"^{name} must be at most {most}$"):
            replace(SCALES["tiny"], **{name: 10**30})
    with pytest.raises(
        CaffeError,
        match=r"nodata/cifar10_train_lmdb: .*; `python -m data_prep "
        r"cifar10 --out .*nodata` makes it$",
    ):
        settle(str(tmp_path), {"scale": "tiny", "data": str(tmp_path / "nodata")})
    assert not (tmp_path / "study.json").exists()
    for text in ("[", "{}", '{"scale": 1, "colour": 2}', "3"):
        (tmp_path / "study.json").write_text(text)
        with pytest.raises(CaffeError, match=r"study.json: not a study's settings \(.*fields: "):
            read_settings(str(tmp_path))
    good = asdict(SCALES["tiny"])
    for name, value in (
        *(("iterations", [5]), ("iterations", [5, "5"]), ("width", "1/8"), ("width", float("inf"))),
        *(("layers", [["conv1", 2]]), ("data", None), ("seeds", True), ("dropout", 1)),
    ):
        (tmp_path / "study.json").write_text(json.dumps({**good, name: value}))
        with pytest.raises(
            CaffeError, match=rf"study.json: not a study's settings \({name} cannot"
        ):
            read_settings(str(tmp_path))


def test_settings_come_back_from_their_file_as_they_were(tmp_path, records):
    given = {"scale": "small", "data": str(records), "layers": (("conv1", "conv2"), ("conv3",))}
    settled = settle(str(tmp_path), given)
    assert isinstance(settled, Settings)
    assert read_settings(str(tmp_path)) == settled
