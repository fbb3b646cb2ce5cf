"""The figure of a TPM measurement, and the command that draws it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from caffe_tools.figures.tpm import FAST, PICK, REST, ROW, SLOW, draw, figure_size
from netgen import growth


def layer(name, tpm, entropy, **more):
    needed = {"group": 1, "classifier": False, "shared": False, "dead": (False,) * len(tpm)}
    return growth.LayerMeasurement(
        name=name,
        num_output=len(tpm),
        entropy=entropy,
        histogram=tuple(np.histogram(tpm, 10, (0, 1))[0].tolist()),
        tpm=tuple(tpm),
        **needed | more,
    )


def flat(measured):
    """The measurement with all kernels in one bin."""
    layers = tuple(
        replace(layer, entropy=0.0, histogram=(layer.num_output,) + (0,) * 9)
        for layer in measured.layers
    )
    return replace(measured, layers=layers)


@pytest.fixture
def measured(tmp_path):
    """conv1: 4 kernels, 2 of them fast, in 3 bins; conv2, in one, is the classifier, with a dead kernel."""
    value = growth.Measurement(
        net="little",
        window=(1000, 2000),
        bins=10,
        rate_drops=((1500, 1500),),
        layers=(
            layer("conv1", [0.15, 0.35, 0.95, 0.37], 1.04),
            layer("conv2", [0.95, 1.0], 0.0, classifier=True, dead=(False, True)),
        ),
    )
    (tmp_path / "t.json").write_text(value.to_json())
    return value


def drawn(measured, picks=(), **options):
    figure = Figure(figsize=figure_size(measured), layout="constrained")
    draw(figure, measured, {pick.layer: pick for pick in picks}, **options)
    figure.draw_without_rendering()
    return figure, *figure.axes


def bars(axes, color):
    return [
        (bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height())
        for bar in axes.patches
        if same_color(bar.get_facecolor(), color) and bar.get_height()
    ]


def test_histograms_stand_on_their_rows(measured):
    pick = growth.LayerPlan("conv1", "residual", (2, 3), (0, 1))
    _, left, right = drawn(measured, [pick], mean=0.865, thresholds=[0.95, 1.1])
    unit = ROW / 2  # the highest bar of conv1 holds two kernels: one fast on top of one slow
    assert bars(left, SLOW) == [
        pytest.approx((0.1, -unit, 0.1, unit)),
        pytest.approx((0.3, -unit, 0.1, unit)),
    ]
    assert bars(left, FAST) == [
        pytest.approx((0.3, -2 * unit, 0.1, unit)),
        pytest.approx((0.9, -unit, 0.1, unit)),
    ]
    assert bars(left, REST) == [
        pytest.approx((0.9, 1 - ROW, 0.1, ROW)),
    ]
    assert [bar.get_width() for bar in right.patches] == [
        one.corrected_entropy for one in measured.layers
    ]
    assert [
        same_color(bar.get_facecolor(), color)
        for bar, color in zip(right.patches, (PICK, REST), strict=True)
    ] == [True, True]
    low, high = left.get_ylim()[::-1]
    assert low < -ROW
    assert high > 1


def test_labels_lines_and_legend(measured):
    pick = growth.LayerPlan("conv1", "residual", (2, 3), (0, 1))
    figure, left, right = drawn(measured, [pick], mean=0.865, thresholds=[0.95, 1.1])
    labels = left.get_yticklabels()
    assert [label.get_text() for label in labels] == ["conv1 (4)", "conv2 (2, 1 dead)"]
    assert [label.get_fontweight() for label in labels] == ["bold", "normal"]
    assert [text.get_text() for text in right.texts] == [
        f"{one.corrected_entropy:.2f}" for one in measured.layers
    ]
    assert [line.get_xdata()[0] for line in right.lines] == [0.865, 0.95, 1.1]
    assert figure.get_suptitle() == (
        "little: TPM from iteration 1,000 to 2,000, with a drop of the learning rate inside"
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "fast",
        "slow",
        "not split",
        "mean 0.865",
        "threshold",
    ]


def test_without_picks_and_threshold(measured):
    figure, left, right = drawn(replace(measured, rate_drops=None), mean=0.865)
    assert not bars(left, FAST) + bars(left, SLOW)
    assert len(bars(left, REST)) == 4
    assert len(right.lines) == 1
    assert figure.get_suptitle().endswith("2,000")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "not split",
        "mean 0.865",
    ]


def test_all_entropies_zero(measured):
    _, _, right = drawn(flat(measured), mean=0.0, thresholds=[0.0, 0.0])
    assert right.get_xlim()[1] > 0


def test_rows_of_a_large_net_do_not_touch():
    layers = tuple(layer(f"conv{i}_split2_residual_post", [0.5], 0.1) for i in range(40))
    value = growth.Measurement(net="", window=(0, 1), bins=10, layers=layers)
    figure, left, _ = drawn(value, mean=0.1)
    boxes = [label.get_window_extent() for label in left.get_yticklabels()]
    assert all(above.y0 > below.y1 for above, below in zip(boxes, boxes[1:], strict=False))
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.y1 for box in boxes) < figure.bbox.y1


def test_names_are_drawn_as_they_are(tool, tmp_path, measured):
    odd = replace(measured.layers[0], name="$\\frac{\x1b[31m")
    value = replace(measured, net="$\\q{", layers=(odd, *measured.layers[1:]))
    (tmp_path / "t.json").write_text(value.to_json())
    assert tool("plot_tpm", "t.json", "-o", "t.svg", cwd=tmp_path) == (0, "Wrote t.svg\n", "")
    text = (tmp_path / "t.svg").read_text()
    assert r"<!-- $\frac{\x1b[31m (4) -->" in text and r"<!-- $\q{: TPM from iter" in text


def test_command_draws_the_rule_s_choice_or_a_plan(tool, tmp_path, measured):
    run = partial(tool, "plot_tpm", cwd=tmp_path)
    assert run("t.json") == (0, "Wrote t.png\n", "")
    by_rule = matplotlib.image.imread(tmp_path / "t.png")
    assert by_rule.shape[1] > 1000
    plan = growth.make_plan(growth.read_tpm(tmp_path / "t.json"))
    (tmp_path / "p.json").write_text(growth.to_json(plan))
    assert run("t.json", "--plan", "p.json", "-o", "p.png") == (0, "Wrote p.png\n", "")
    assert (matplotlib.image.imread(tmp_path / "p.png") == by_rule).all()
    other = growth.make_plan(growth.read_tpm(tmp_path / "t.json"), layers=["conv2"])
    (tmp_path / "p.json").write_text(growth.to_json(other))
    assert run("t.json", "--plan", "p.json", "-o", "q.svg") == (0, "Wrote q.svg\n", "")
    text = (tmp_path / "q.svg").read_text()
    assert text.startswith("<?xml")
    assert {path.name for path in tmp_path.iterdir()} == {
        "t.json",
        "t.png",
        "p.json",
        "p.png",
        "q.svg",
    }


def test_command_draws_a_measurement_with_nothing_to_split(tool, tmp_path, measured):
    (tmp_path / "t.json").write_text(flat(measured).to_json())
    assert tool("plot_tpm", "t.json", cwd=tmp_path) == (0, "Wrote t.png\n", "")


def test_errors_are_one_line(tool, tmp_path, measured):
    run = partial(tool, "plot_tpm", cwd=tmp_path)

    def plan(name, fast, slow):
        layers = growth.Plan((growth.LayerPlan(name, "residual", fast, slow),))
        Path(tmp_path / "p.json").write_text(growth.to_json(layers))
        return run("t.json", "--plan", "p.json")

    assert plan("conv3", (0,), (1,)) == (
        1,
        "",
        "plot_tpm: p.json: layer 'conv3' is not in t.json\n",
    )
    assert plan("conv1", (0,), (1,)) == (
        1,
        "",
        "plot_tpm: p.json: layer 'conv1' has 2 outputs, in t.json 4\n",
    )
    assert run("none.json") == (1, "", "plot_tpm: File not found: none.json\n")
    status, out, err = run("t.json", "-o", "t.docx")
    assert (status, out) == (1, "")
    assert err.startswith("plot_tpm: t.docx: pictures are ")
    status, out, err = run("t.json", "-o", "nowhere/t.png")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "nowhere/t.png: cannot be written: No such file or directory" in err
    status, out, err = run()
    assert (status, out, err.count("\n")) == (1, "", 1)
