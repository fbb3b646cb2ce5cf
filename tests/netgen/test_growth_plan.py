"""Plans: the file, the rule on the study's own tables, the partition of kernels, the command."""

import ast
import json
import os
import subprocess
import sys
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgen import growth
from netgen.cli import main
from netgen.growth.choose import others
from netgen.growth.partition import best_cut, partition
from netgen.growth.trajectory import expected_entropy, histogram_entropy
from netgen.schema import json_text

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).parent / "tpm_tables"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


MIXED, FLAT = (40, 40), (80, 0)  # counts of a high entropy and of one of 0


def layer(name, tpm, counts=MIXED, **more):
    """A layer of a measurement; its histogram need not be that of its TPMs."""
    needed = {"group": 1, "classifier": False, "shared": False, "dead": (False,) * len(tpm)}
    return growth.LayerMeasurement(
        name=name,
        num_output=len(tpm),
        entropy=histogram_entropy(counts),
        histogram=tuple(counts),
        tpm=tuple(tpm),
        **needed | more,
    )


def measurement(*layers):
    bins = len(layers[0].histogram)
    return growth.Measurement(net="little", window=(100, 500), bins=bins, layers=layers)


def table(name, pick=0):
    """The measurement that one of the study's tables stands for.

    The tables tell entropies, to 12 digits, of which hardly two histograms have the same: NAME_
    counts.txt has those that do, found by trying all. pick: which, where there are several.
    """
    layers = []
    for line in (TABLES / f"{name}_counts.txt").read_text().splitlines():
        head, _, found = line.partition(": ")
        row, outputs = head.split()
        found = [tuple(map(int, counts.split())) for counts in found.split(" | ")]
        kernels = [k / int(outputs) for k in range(int(outputs))]
        layers.append(layer(row, kernels, found[pick % len(found)], classifier=row == "conv9"))
    return measurement(*layers)


def write(value, path="t.json"):
    """Write a Measurement, or any value of JSON, to a file."""
    text = value.to_json() if isinstance(value, growth.Measurement) else json.dumps(value)
    Path(path).write_text(text)
    return path


def run(capsys, *argv):
    status = main(["plan", *map(str, argv)])
    out, err = capsys.readouterr()
    return status, out, err


def error(capsys, *argv):
    status, out, err = run(capsys, *argv)
    assert (status, out, err.count("\n")) == (1, "", 1)
    return err


# --- the rule ---

ROUNDS = {
    "baseline": {"conv1", "conv2", "conv8"},
    "msplit1": {"conv1_split2_residual_pre", "conv1_split2", "conv2_split1", "conv2_split2"},
}


@pytest.mark.parametrize("pick", [0, 1, 2])
@pytest.mark.parametrize("name", ROUNDS)
def test_the_counts_have_the_entropies_of_the_study_s_tables(name, pick):
    mean, *rows = (TABLES / f"{name}.txt").read_text().splitlines()
    value = table(name, pick)
    wanted = {}
    for line in rows:
        row, _, entropy = line.rpartition(" ")
        wanted[ast.literal_eval(row)[:2]] = float(entropy)
    found = {(layer.name, layer.num_output): layer.entropy for layer in value.layers}
    assert found == {row: pytest.approx(entropy, abs=1e-11) for row, entropy in wanted.items()}
    assert value.mean_entropy == pytest.approx(float(mean.split(" = ")[1]), abs=1e-11)


@pytest.mark.parametrize("pick", [0, 1, 2])
@pytest.mark.parametrize("factor", [1.04, growth.FACTOR, 1.14])
@pytest.mark.parametrize("name", ROUNDS)
def test_the_study_s_choice_of_both_rounds(name, factor, pick):
    plan = growth.make_plan(table(name, pick), factor)
    assert {layer.layer for layer in plan.layers} == ROUNDS[name]
    for chosen in plan.layers:
        half = chosen.num_output // 2  # 48 of 96, 24 of 48; TPM rises with the channel
        assert chosen.slow == tuple(range(half))
        assert chosen.fast == tuple(range(half, 2 * half))


@pytest.mark.parametrize(("name", "factor"), [("baseline", 1.5), ("msplit1", 1.2), ("msplit1", 1)])
def test_other_factors_choose_otherwise(name, factor):
    assert {layer.name for layer in growth.select(table(name), factor)} != ROUNDS[name]


def test_layers_under_one_law_are_chosen_equally_often_whatever_their_size():
    """By the plain entropy of the histogram 12 kernels were chosen in 2 of 100 and 192 in 98."""
    random = np.random.default_rng(1)
    sizes, nets, each = (12, 24, 48, 96, 192), 200, 3
    corrected, plain = dict.fromkeys(sizes, 0), dict.fromkeys(sizes, 0)
    for _ in range(nets):
        value = measurement(
            *(
                layer(f"c{size}_{i}", tpm, np.histogram(tpm, 10, (0, 1))[0].tolist())
                for size in sizes
                for i in range(each)
                for tpm in [random.beta(2, 2, size)]
            )
        )
        for chosen in growth.select(value, 1.03):
            corrected[chosen.num_output] += 1
        for one in value.layers:
            plain[one.num_output] += one.entropy >= 1.03 * value.mean_entropy
    share = {size: count / nets / each for size, count in corrected.items()}
    assert max(share.values()) - min(share.values()) < 0.15, share
    assert plain[12] < 0.05 * nets * each
    assert plain[192] > 0.9 * nets * each


def test_the_corrected_entropy_is_grassberger_s():
    """The values were computed with SciPy's digamma from his equations."""
    assert expected_entropy([97, 47, 27, 13, 7, 1]) == pytest.approx(1.328895601170021, rel=1e-12)
    assert expected_entropy([3, 0, 5, 1]) == pytest.approx(1.3194392746495498, rel=1e-12)
    assert expected_entropy([1000, 0]) == 0
    assert expected_entropy([0, 0]) == 0
    many = expected_entropy([10**15, 10**15])  # a file may say so; no table is as long
    assert many == pytest.approx(log(2), rel=1e-9)
    one, other = (expected_entropy([n, 19_000]) for n in (19_999, 20_000))
    assert one == pytest.approx(other, rel=1e-4)


def test_what_the_rule_leaves_out():
    kernels = [0.1, 0.9]
    kept = [layer("a", kernels), layer("b", kernels, (78, 2))]
    out = [
        layer("a_split2_residual_post", kernels),
        layer("a_reorder", kernels),
        layer("a_split2_extension", kernels),
        layer("c", kernels, classifier=True),
        layer("d", kernels, shared=True),
        layer("e", kernels, group=2),
        layer("f", [0.5]),
    ]
    assert growth.select(measurement(*kept, *out), 0) == kept
    assert growth.select(measurement(*kept), 1) == kept[:1]
    alone = measurement(kept[0])
    assert growth.select(alone, 1) == kept[:1]  # at the threshold
    flat = measurement(layer("a", kernels, FLAT), layer("b", kernels, FLAT))
    assert growth.select(flat) == []


def test_a_layer_of_few_kernels_must_stand_out_more():
    few, many = layer("a", [0.5] * 4), layer("b", [0.5] * 16)
    value = measurement(few, layer("c", [0.5] * 16), many)
    mean = value.mean_corrected_entropy
    assert value.threshold(many, 1.1) == pytest.approx(1.1 * mean)
    assert value.threshold(few, 1.1) == pytest.approx(1.2 * mean)
    assert value.threshold(few, 0.5) == pytest.approx(0.5 * mean)


def test_named_layers_need_no_entropy():
    value = measurement(
        layer("a", [0.1, 0.9], FLAT),
        layer("b", [0.2, 0.1]),
        layer("c_reorder", [0.2, 0.3], FLAT, classifier=True),
    )
    plan = growth.make_plan(value, layers=["c_reorder", "a"], kind="skip")
    assert [(p.layer, p.kind, p.fast, p.slow) for p in plan.layers] == [
        ("a", "skip", (1,), (0,)),
        ("c_reorder", "skip", (1,), (0,)),
    ]
    assert plan.layers[0].why == (
        "entropy 0, corrected 0 (mean 0.231), named; "
        "1 fast, TPM 0.900 to 0.900; 1 slow, TPM 0.100 to 0.100"
    )


# --- kernels ---


def test_halves_by_rank():
    assert partition(layer("a", [0.2, 0.9, 0.4, 0.7])) == ((1, 3), (0, 2))
    assert partition(layer("a", [0.2, 0.9, 0.4, 0.7, 0.3])) == ((1, 2, 3), (0, 4))
    assert partition(layer("a", [0.5] * 4)) == ((0, 1), (2, 3))  # ties go by channel
    assert partition(layer("a", [0.5, 0.6, 0.5, 0.5])) == ((0, 1), (2, 3))


def test_inverse_is_the_other_way_round():
    tpm = [0.2, 0.9, 0.4, 0.7, 0.4, 0.1]
    fast, slow = partition(layer("a", tpm))
    assert partition(layer("a", tpm), "inverse") == (slow, fast)
    odd = partition(layer("a", tpm[:3]), "inverse")
    assert odd == ((0, 2), (1,))  # as many are fast as without


def test_random_is_drawn_from_seed_and_layer():
    tpm = [k / 32 for k in range(32)]
    draws = [
        partition(layer(name, tpm), "random", seed)
        for name, seed in (("a", 0), ("a", 1), ("b", 0), ("a", 2))
    ]
    assert len(set(draws)) == 4
    assert draws[0] == partition(layer("a", tpm[::-1]), "random", 0)
    assert draws[0][0] == (0, 1, 2, 5, 7, 9, 13, 15, 16, 17, 18, 23, 24, 25, 27, 30)


@settings(deadline=None)
@given(
    # Not any floats: the square of a difference of 1e-200 is 0, and cuts nothing.
    st.lists(st.integers(0, 10**6).map(lambda n: n / 10**6), min_size=2, max_size=40),
    st.integers(1, 4),
    st.sampled_from(["half", "value"]),
    st.data(),
)
def test_all_partitions_have_parts_of_the_same_sizes(tpm, group, cut, data):
    dead = data.draw(st.lists(st.booleans(), min_size=len(tpm), max_size=len(tpm)))
    tpm, dead = tpm * group, dead * group
    value = layer("a", tpm, group=group, dead=dead)
    try:
        parts = [partition(value, by, 3, cut) for by in ("tpm", "inverse", "random")]
    except growth.PlanError as reason:
        alive = {t for t, d in zip(tpm, dead, strict=True) if not d}
        assert cut == "value"
        assert len(alive) < 2
        assert str(reason) == "layer 'a' cannot be cut by value: its kernels have equal TPM"
        return
    size = len(tpm) // group
    counts = set()
    for fast, slow in parts:
        growth.LayerPlan("a", "residual", fast, slow)  # a partition of all channels
        counts |= {sum(c // size == g for c in fast) for g in range(group)}
    assert len(counts) == 1
    fast, slow = parts[0]
    rank = [(0 if d else t) for t, d in zip(tpm, dead, strict=True)]
    for g in range(group):
        assert min(rank[c] for c in fast if c // size == g) >= max(
            rank[c] for c in slow if c // size == g
        )


def test_dead_kernels_are_slow():
    value = layer("a", [1.0, 0.5, 0.6, 0.4], dead=(True, False, False, False))
    assert partition(value) == ((1, 2), (0, 3))
    value = layer("a", [1.0, 0.5, 0.9, 0.4, 1.0], dead=(True, False, False, False, True))
    assert partition(value, cut="value") == ((2,), (0, 1, 3, 4))
    value = layer("a", [1.0, 0.5, 0.5], dead=(True, False, False))
    assert partition(value, cut="value") == ((1, 2), (0,))


def test_groups_give_equally_many():
    """By rank over all, every fast kernel would be in the first group."""
    value = layer("a", [0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.2, 0.3], group=2)
    assert partition(value) == ((0, 1, 4, 7), (2, 3, 5, 6))
    value = layer("a", [0.9, 0.8, 0.8, 0.8, 0.1, 0.1, 0.1, 0.2], group=2)
    assert partition(value, cut="value") == ((0, 1, 4, 7), (2, 3, 5, 6))
    value = layer("a", [0.9, 0.9, 0.1, 0.1], group=2)
    assert partition(value, cut="value") == ((0, 2), (1, 3))
    with pytest.raises(growth.PlanError, match="'a' cannot be split: one output a group$"):
        partition(layer("a", [0.9, 0.8], group=2))


def test_cut_by_value():
    assert best_cut([0.1, 0.9, 0.2, 0.8, 0.85]) == 3
    assert best_cut([0.5, 0.5]) == 0
    assert best_cut([0.5]) == best_cut([]) == 0
    # One far from the rest: neither the largest gap nor the middle of the range parts the others.
    assert best_cut([0.0] + [0.5] * 20 + [0.9] * 20) == 20
    assert partition(layer("a", [0.1, 0.9, 0.2, 0.8, 0.85]), cut="value") == ((1, 3, 4), (0, 2))


@pytest.mark.parametrize("options", [{"by": "tmp"}, {"cut": "middle"}])
def test_unknown_partition_or_cut(options):
    with pytest.raises(growth.PlanError, match="no such partition and cut: "):
        growth.make_plan(measurement(layer("a", [0.1, 0.9])), 0, **options)


# --- the command ---


def test_plan_by_the_rule(capsys):
    value = measurement(
        layer("a", [0.1, 0.9, 0.8, 0.2], dead=(False, False, True, False)),
        layer("b", [0.5] * 4, FLAT),
    )
    status, out, err = run(capsys, write(value))
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "layers": [
            {
                "layer": "a",
                "kind": "residual",
                "fast": [1, 3],
                "slow": [0, 2],
                "why": "entropy 0.6931, corrected 0.693 >= 1.1 x mean 0.3465; 2 fast, TPM 0.200 to 0.900; 2 slow, "
                "TPM 0.100 to 0.800; 1 dead, ranked as TPM 0",
            }
        ],
        "meta": {
            "net": "little",
            "window": [100, 500],
            "mean_entropy": pytest.approx(log(2) / 2),
            "mean_corrected_entropy": value.mean_corrected_entropy,
            "factor": 1.1,
            "partition": "tpm",
            "cut": "half",
            "tpm": "t.json",
        },
    }
    assert '      "fast": [1, 3],\n' in out
    assert run(capsys, "t.json", "-o", "p.json") == (0, "", "")
    assert Path("p.json").read_text() == out
    assert growth.to_json(growth.read_plan("p.json")) == out


def test_every_option(capsys):
    value = measurement(layer("a", [0.1, 0.9, 0.8, 0.2]), layer("b", [0.5, 0.4, 0.4, 0.4]))
    status, _, err = run(
        capsys,
        write(value),
        "--layers",
        "b,a",
        "--kind",
        "extension",
        "--partition",
        "random",
        "--seed",
        5,
        "--cut",
        "value",
        "-o",
        "p.json",
    )
    assert (status, err) == (0, "")
    plan = growth.read_plan("p.json")
    assert [(p.layer, p.kind, len(p.fast), len(p.slow)) for p in plan.layers] == [
        ("a", "extension", 2, 2),
        ("b", "extension", 1, 3),
    ]
    assert plan == growth.Plan(
        growth.make_plan(
            value, layers=["a", "b"], kind="extension", by="random", seed=5, cut="value"
        ).layers,
        plan.meta,
    )
    assert {key: plan.meta[key] for key in ("layers", "partition", "seed", "cut")} == {
        "layers": ["b", "a"],
        "partition": "random",
        "seed": 5,
        "cut": "value",
    }
    assert "factor" not in plan.meta
    run(capsys, "t.json", "--factor", 0, "--partition", "inverse", "-o", "p.json")
    assert [p.layer for p in growth.read_plan("p.json").layers] == ["a", "b"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--factor", "1", "--layers", "a"],
        ["--factor", "-1"],
        ["--factor", "nan"],
        ["--layers", "a,,b"],
        ["--seed", "1"],
        ["--choose", "lowest"],
        ["--like", "t.json"],
        ["--layers", "a", "--choose", "lowest", "--like", "t.json"],
        ["--kind", "resnet"],
        ["--cut", "gap"],
    ],
)
def test_refused_arguments(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(["plan", write(measurement(layer("a", [0.1, 0.9]))), *arguments])
    assert stop.value.code == 1
    assert "Traceback" not in capsys.readouterr().err


def test_controls_of_the_choice_of_layers(capsys):
    """As many layers as another plan has: of the lowest entropy, or drawn."""
    counts = {"a": (40, 40), "b": (70, 10), "c": FLAT, "d": (60, 20), "e": (50, 30)}
    layers = [layer(name, [0.1, 0.9], found) for name, found in counts.items()]
    write(measurement(*layers, layer("fc", [0.1, 0.9], FLAT, classifier=True)))
    run(capsys, "t.json", "--layers", "a,e", "-o", "two.json")

    def chosen(*options):
        status, out, err = run(capsys, "t.json", "--choose", *options, "--like", "two.json")
        assert (status, err) == (0, "")
        found = json.loads(out)
        assert found["meta"]["choose"] == options[0]
        return [one["layer"] for one in found["layers"]]

    assert chosen("lowest") == ["b", "c"]  # and not the classifier
    drawn = [tuple(chosen("random", "--seed", seed)) for seed in range(1, 21)]
    assert {len(pair) for pair in drawn} == {2} and len(set(drawn)) > 5
    assert {name for pair in drawn for name in pair} == set(counts)
    assert tuple(chosen("random", "--seed", 3)) == drawn[2]
    with pytest.raises(growth.PlanError, match="6 layers are wanted of 5 that can be split"):
        others(growth.read_tpm("t.json"), "lowest", 6)
    with pytest.raises(growth.PlanError, match="no such choice of layers: 'best'"):
        others(growth.read_tpm("t.json"), "best", 1)


def test_nothing_to_split(capsys):
    path = write(measurement(layer("a", [0.1, 0.9]), layer("b", [0.1, 0.9], (42, 38))))
    assert error(capsys, path) == (
        "netgen: t.json: no layer to split: the nearest is 'a', whose corrected entropy is 0.693 "
        "where 0.7617 is wanted (mean 0.6924, factor 1.1)\n"
    )
    path = write(measurement(layer("a", [0.1, 0.9], classifier=True)))
    assert error(capsys, path) == (
        "netgen: t.json: no layer to split: all are glue, classifiers, "
        "shared or of one output a group\n"
    )


def test_layers_that_cannot_be_split(capsys):
    path = write(measurement(layer("a", [0.5]), layer("b", [0.5, 0.5])))
    assert error(capsys, path, "--layers", "c") == (
        "netgen: t.json: layer 'c' was not measured (those are: a, b)\n"
    )
    assert error(capsys, path, "--layers", "a") == (
        "netgen: t.json: layer 'a' cannot be split: one output\n"
    )
    assert error(capsys, path, "--layers", "b", "--cut", "value") == (
        "netgen: t.json: layer 'b' cannot be cut by value: its kernels have equal TPM\n"
    )


def test_files_that_are_no_measurement(capsys):
    def told(value):
        return error(capsys, write(value)).removeprefix("netgen: t.json: ").rstrip("\n")

    def file(*layers):
        return {"net": "little", "window": [100, 500], "bins": 2, "layers": list(layers)}

    def changed(name, value):
        plain = json.loads(measurement(layer("a", [0.5, 0.6])).to_json())
        if name in plain:
            return told(plain | {name: value})
        return told(file(plain["layers"][0] | {name: value}))

    assert error(capsys, "none.json") == "netgen: File not found: none.json\n"
    assert "not a TPM measurement" in told([])
    assert "not a TPM measurement" in told({"layers": {}})
    assert told(file()) == "field 'layers' is empty"
    assert told(measurement(layer("a", [1, 0]), layer("a", [1, 0]))) == "layer 'a': is there twice"
    assert told(file({"nam": "a"})) == "layers[0] must be an object with a 'name'"
    assert told({"layers": [], "net": "x"}) == "field 'window' is missing"
    assert changed("entropy", "high") == "layer 'a': field 'entropy' must be a number, 0 or more"
    assert changed("entropy", float("nan")).endswith("'entropy' must be a number, 0 or more")
    assert changed("entropy", 10**400).endswith("'entropy' must be a number, 0 or more")
    assert changed("num_output", 10**400).endswith("'num_output' must be a number of outputs")
    assert changed("dead", [False]) == "layer 'a': field 'dead' has 1 values, not 2"
    assert changed("tpm", [0.5, 1.5]) == (
        "layer 'a': field 'tpm' must be a list of numbers from 0 to 1"
    )
    assert changed("group", 0) == "layer 'a': field 'group' must be a number of groups"
    assert changed("group", 3) == "layer 'a': 2 outputs are not a multiple of 3 groups"
    assert changed("classifier", 0) == "layer 'a': field 'classifier' must be true or false"
    assert changed("iterations", 7) == "field 'iterations' must be a list of iterations"
    assert changed("spacing", "x") == "field 'spacing' must be a number of iterations or null"
    assert changed("rate_drops", [[1]]).endswith("must be a list of pairs of iterations or null")
    assert changed("warnings", [1]) == "field 'warnings' must be a list of lines"
    assert (
        changed("weights", -1) == "layer 'a': field 'weights' must be a number of weights or null"
    )
    assert changed("kernel", 3) == "layer 'a': field 'kernel' must be a list of sizes"
    assert changed("cosine", ["x"]) == (
        "layer 'a': field 'cosine' must be a list of numbers or null"
    )
    Path("t.json").write_text('{"layers": 1')
    assert error(capsys, "t.json").startswith("netgen: t.json: not JSON: ")


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/**/tpm.json")), ids=str)
def test_a_measurement_is_written_as_it_was_read(path):
    """The files of the studies that were run, written by earlier versions."""
    assert growth.read_tpm(path).to_json() == path.read_text()


def test_a_file_may_lack_what_no_plan_needs():
    value = json.loads(measurement(layer("a", [0.5, 0.6])).to_json())
    for name in ("iterations", "spacing", "rate_drops", "mean_entropy", "warnings"):
        del value[name]
    for name in ("weights", "kernel", "displacement", "path_length", "cosine"):
        del value["layers"][0][name]
    assert growth.read_tpm(write(value)) == measurement(layer("a", [0.5, 0.6]))


def test_as_a_command():
    path = write(measurement(layer("a", [0.1, 0.9]), layer("b", [0.1, 0.9], FLAT)))
    done = subprocess.run(
        [sys.executable, "-m", "netgen", "plan", path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["layers"][0]["fast"] == [1]


# --- the file ---

CONV = {"layer": "conv1", "kind": "residual", "fast": [0, 2], "slow": [1]}


def refused(value):
    Path("p.json").write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(growth.PlanError) as reason:
        growth.read_plan("p.json")
    text = str(reason.value)
    assert text.startswith("p.json: ")
    assert "\n" not in text
    return text.removeprefix("p.json: ")


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_what_is_written_is_read(tmp_path_factory, data):
    name = st.text(st.characters(codec="utf-8"), min_size=1)
    names = data.draw(st.lists(name, unique=True, max_size=4))
    layers = []
    for name in names:
        channels = data.draw(st.permutations(range(data.draw(st.integers(2, 9)))))
        cut = data.draw(st.integers(1, len(channels) - 1))
        layers.append(
            growth.LayerPlan(
                name,
                data.draw(st.sampled_from(tuple(growth.KINDS))),
                tuple(channels[:cut]),
                tuple(channels[cut:]),
                "because",
            )
        )
        assert layers[-1].num_output == len(channels)
    plan = growth.Plan(tuple(layers), {"seed": 1, "deep": {"list": [[1], {}], "none": None}})
    path = tmp_path_factory.getbasetemp() / "p.json"
    path.write_text(growth.to_json(plan))
    assert growth.read_plan(path) == plan


def test_json_text_is_json():
    value = {"a": [], "b": {}, "c": [{"d": [1, 2.5, None]}, []], "e": "\u00e9\n", "f": [[1], [2]]}
    assert json.loads(json_text(value)) == value
    with pytest.raises(ValueError, match="JSON"):
        json_text([float("nan")])


def test_why_and_meta_may_be_left_out():
    Path("p.json").write_text(json.dumps({"layers": [CONV]}))
    assert growth.read_plan("p.json") == growth.Plan(
        (growth.LayerPlan("conv1", "residual", (0, 2), (1,), ""),), {}
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "resnet"}, "field 'kind' is 'resnet', not residual, extension, skip, average"),
        ({"kind": ["skip"]}, "field 'kind' is ['skip'], not residual, extension, skip, average"),
        ({"fast": []}, "field 'fast' must be a list of output channels, not empty"),
        ({"slow": 1}, "field 'slow' must be a list of output channels, not empty"),
        ({"fast": [0, "2"]}, "field 'fast' holds '2', not an output channel"),
        ({"fast": [0, True]}, "field 'fast' holds True, not an output channel"),
        ({"fast": [0, 2.0]}, "field 'fast' holds 2.0, not an output channel"),
        ({"slow": [-1]}, "field 'slow' holds -1, not an output channel"),
        ({"fast": [0, 2, 0]}, "field 'fast' holds channel 0 twice"),
        ({"slow": [1, 2]}, "channel 2 is in 'fast' and in 'slow'"),
        (
            {"slow": [3]},
            "channel 1 is neither in 'fast' nor in 'slow', which name 3 channels up to 3",
        ),
        ({"why": None}, "field 'why' must be text"),
        ({"kernels": 3}, "unknown field 'kernels' (known: layer, kind, fast, slow, why)"),
    ],
)
def test_malformed_layers(change, told):
    assert refused({"layers": [CONV | change]}) == f"layer 'conv1': {told}"


@pytest.mark.parametrize("field", ["kind", "fast", "slow"])
def test_missing_fields(field):
    value = {key: CONV[key] for key in CONV if key != field}
    assert refused({"layers": [value]}) == f"layer 'conv1': field '{field}' is missing"


def test_malformed_plans():
    assert refused([]) == "a plan is an object with the fields 'layers' and 'meta'"
    assert refused({}) == "field 'layers' must be a list"
    assert refused({"layers": [], "meta": []}) == "field 'meta' must be an object"
    assert refused({"layers": [], "mta": {}}) == "unknown field 'mta' (known: layers, meta)"
    nameless = "must be an object whose field 'layer' names a layer"
    assert refused({"layers": [CONV, 7]}) == f"layers[1] {nameless}"
    assert refused({"layers": [{**CONV, "layer": ""}]}) == f"layers[0] {nameless}"
    assert refused({"layers": [CONV, CONV]}) == "layer 'conv1' is planned twice"
    assert refused('{"layers": [') == "not JSON: Expecting value: line 1 column 13 (char 12)"
    assert refused('{"layers": [], "layers": []}') == "not JSON: 'layers' is given twice"
    assert "surrogates not allowed" in refused('{"layers": ["\\ud800"]}')
    assert refused("[" * 100_000).startswith("not JSON: ")
    Path("p.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(growth.PlanError, match=r"^p\.json: not JSON: "):
        growth.read_plan("p.json")
    with pytest.raises(growth.PlanError, match=r"^File not found: none\.json$"):
        growth.read_plan("none.json")


def test_layer_plans_made_by_code_are_checked_too():
    with pytest.raises(growth.PlanError, match="^layer 'a': channel 0 is in 'fast' and in 'slow'"):
        growth.LayerPlan("a", "skip", (0,), (0,))
    with pytest.raises(growth.PlanError, match="field 'layer' must be the name of a layer"):
        growth.LayerPlan("", "skip", (0,), (1,))
    assert growth.LayerPlan("a", "skip", [0], [1]).fast == (0,)


def test_importing_growth_for_a_net_brings_no_numpy():
    code = "import sys, netgen.growth; sys.exit('numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0
    assert all(hasattr(growth, name) for name in growth.__all__)
    with pytest.raises(AttributeError, match="no attribute 'grow'"):
        growth.grow  # noqa: B018
