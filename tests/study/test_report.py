"""The report of a study whose logs and records are made up."""

import base64
import html
import io
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib.image
import pytest

from caffe_tools import draw_net
from netgen.errors import CaffeError
from study import report as study_report
from study.arms import SPLIT
from study.effects import effects
from study.plan import script
from study.results import collect, groups
from study.settings import SCALES
from study.trainings import trainings

ACCURACIES = {  # arm: (at iteration 0, best, final) of each seed
    "baseline": [(0.1, 0.5, 0.48), (0.1, 0.52, 0.5)],
    "tpm": [(0.4, 0.6, 0.58), (0.42, 0.62, 0.62)],
    "random1": [(0.4, 0.5, 0.5), (0.4, 0.5, 0.5)],
    "random2": [(0.4, 0.6, 0.6), (0.4, 0.6, 0.6)],
    "restart": [(0.48, 0.55, 0.55), (0.5, 0.57, 0.55)],
    "wider": [(0.1, 0.7, 0.7), (0.1, 0.7, 0.7)],
}
DOT = 'digraph "net" { "conv1" -> "relu1 & <b>" }\n'
RUN = {
    "command": ["caffe", "train"],
    "from": 0,
    "to": 30,
    "seconds": 61.0,
    "device": "Test 9000",
    "cores": 4,
    "threads": 2,
    "system": "Linux",
    "commit": "abc1234",
    "versions": {"python": "3.11", "torch": "2.13"},
}


def pretend(out, settings, writer, skip=()):
    """All files that the trainings of a study leave."""
    out.mkdir()
    (out / "study.json").write_text(json.dumps(asdict(settings)))
    for training in trainings(settings, str(out)):
        folder = Path(training.folder)
        folder.mkdir(parents=True)
        if training.name in skip:
            continue
        first, best, final = ACCURACIES[training.name][training.seed - 1]
        log = writer().solving(training.name)
        for iteration, accuracy in ((0, first), (15, best), (30, final)):
            log.test(iteration, ("accuracy", f"{accuracy}")).display(iteration, "1.5")
        log.done().write(Path(training.log))
        Path(training.record).write_text(json.dumps({"inputs": {}, "runs": [RUN]}))
        totals = {"parameters": 1000 + 10 * training.seed, "multiply_adds_per_image": 2.5e6}
        layers = [
            {"type": "Input", "bottoms": [], "tops": ["s", "l"], "top_shapes": [[8, 10], [8]]},
            {"type": "SoftmaxWithLoss", "bottoms": ["s", "l"], "tops": [], "top_shapes": []},
        ]
        described = {"layers": layers, "batch_size": 8, "totals": totals}
        Path(training.description).write_text(json.dumps(described))
        Path(training.drawing).write_text(DOT)
        if training.arm is SPLIT:
            layer = {"layer": "conv1", "why": "entropy 1.2 >= 1.1 x mean 1"}
            Path(training.plan).write_text(json.dumps({"layers": [layer]}))
            Path(training.verified).write_text('{"random": {"difference": 0.25}}')
            Path(training.measured_table).write_text("Mean TPM ratio entropy = 1.0\n")
            Path(training.measured).write_text('{"warnings": ["a drop inside"]}')
            matplotlib.image.imsave(training.plot, [[0.0, 1.0]])


@pytest.fixture
def settings():
    return replace(
        SCALES["small"],
        seeds=2,
        train_size=50_000,
        test_size=10_000,
        note="<a> & b",
        arms=("random1", "random2", "restart", "wider"),
    )


@pytest.fixture
def study(tmp_path, settings, writer):
    pretend(tmp_path / "o", settings, writer)
    return tmp_path / "o"


def rows(markdown):
    """{first cell: other cells} of all tables."""
    lines = [line[2:-2].split(" | ") for line in markdown.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines}


def test_tables_have_means_deviations_and_paired_differences(study):
    assert study_report.main([str(study)]) == 0
    text = (study / "report.md").read_text()
    found = rows(text)
    assert found["**baseline**"] == [
        "parent of round 1",
        "2",
        "49.00 ± 1.41",
        "51.00 ± 1.41",
        "52.00",
        "1,010 to 1,020",
        "2.5",
        "-",
        "-",
        "30",
        "3.60e+09",  # 6 x 2.5 million x 8 images x 30 iterations
        "9 s",
    ]
    assert found["**round 1 tpm**"][1:9] == [
        "2",
        "60.00 ± 2.83",
        "61.00 ± 1.41",
        "62.00",
        "1,010 to 1,020",
        "2.5",
        "49.00",
        "41.00",
    ]
    assert found["**round 1 random**"][1:4] == ["4", "55.00 ± 5.77", "55.00 ± 5.77"]
    assert found["**round 1 wider**"][7:9] == ["-", "-"]  # it was not split from anything
    assert found["1"] == ["48.00", "58.00", "55.00", "55.00", "70.00"]
    assert found["2"] == ["50.00", "62.00", "55.00", "55.00", "70.00"]
    assert "Of round 1 random it is the mean of the draws" in text
    # Two seeds: the interval is the mean and 12.71 standard errors, p is 1/2 at one of them.
    gain = "+11.00 [-1.71, +23.71]"
    assert found["round 1 tpm - baseline"] == [
        "2",
        gain,
        "0.058",
        "+10.00",
    ]  # both alike: no interval
    primary = found["**round 1 tpm - restart**"]
    assert primary[:5] == ["2", "+5.00 [-20.41, +30.41]", "0.242", "primary", "0.500"]
    assert found["round 1 tpm - random"][:2] == ["2", "+5.00 [-20.41, +30.41]"]
    assert found["round 1 tpm - wider"][1:4] == ["-10.00 [-35.41, +15.41]", "0.126", "0.315"]
    assert found["round 1 restart - baseline"][1] == "+6.00 [-6.71, +18.71]"
    assert found["Test 9000"] == [
        "4",
        "2",
        "Linux",
        "python 3.11, torch 2.13",
        "abc1234",
        "12 min 12 s",
    ]
    assert found["width"] == ["0.125", "1"]
    for said in (
        "**Scale `small`**",
        "**Note**: &lt;a&gt; &amp; b",
        "- a drop inside",
        "- `conv1`: entropy 1.2 &gt;= 1.1 x mean 1",
        "at most 0.25 of the largest",
        "seed 2 splits `conv1`",
        "uncertain by 0.46 points",
        "(90.90 %, 92.06 %, 92.47 %, the best test of one run each) are not beside ours, as these "
        "differ: width, batch size,",
    ):
        assert said in text
    assert "Unfinished" not in text and "Nothing learnt" not in text


def test_a_split_within_the_training_is_compared_with_the_parent_that_went_on(
    tmp_path, settings, writer
):
    arms = ("random1", "random2", "wider")
    within = replace(settings, arms=arms, iterations=(30, 10), split_at=15)
    pretend(tmp_path / "o", within, writer)
    assert study_report.main([str(tmp_path / "o")]) == 0
    text = (tmp_path / "o/report.md").read_text()
    found = rows(text)
    # Before and after: the tests at iteration 15 of the parent and of the child.
    assert found["**round 1 tpm**"][7:9] == ["51.00", "61.00"]
    assert found["**round 1 tpm**"][10] == "1.80e+09"  # of 15 iterations
    assert found["**round 1 tpm - baseline**"][3] == "primary"
    assert found["iterations after a split"][0] == "15"
    assert "The parent went on as well" in text
    results = collect(trainings(within, str(tmp_path / "o")))
    flops = {result.training.name: result.in_all("flops") for result in results}
    assert flops["tpm"] == flops["baseline"] == flops["wider"] == 3.6e9


def test_all_commands_are_told(study, settings):
    study_report.main([str(study)])
    page = (study / "report.html").read_text()
    lines = script(settings, str(study))
    assert len(lines) > 50
    assert html.escape("\n".join(lines), quote=False) in page


def test_page_needs_no_other_file(study, monkeypatch):
    monkeypatch.setattr(study_report, "render", lambda text, kind: b"<svg/>")
    study_report.main([str(study)])
    page = (study / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 9  # intervals, final, costs, chains, two seeds, TPM, the net twice
    pictures = [re.fullmatch(r"data:image/(png|svg\+xml);base64,(.+)", s).groups() for s in sources]
    assert [kind for kind, _ in pictures] == ["png"] * 7 + ["svg+xml"] * 2
    curves = matplotlib.image.imread(io.BytesIO(base64.b64decode(pictures[4][1])))
    assert curves.shape[1] > 1000
    assert base64.b64decode(pictures[8][1]) == b"<svg/>"
    assert (study / "seed1/round1/tpm/net.svg").read_bytes() == b"<svg/>"
    assert "&lt;a&gt; &amp; b" in page and "<a>" not in page


HOSTILE = "<script>x</script> ![y](/etc/y.png) [z](javascript:z) `` <img src='a.png'> \x1b[31m\n# w"


def test_what_others_wrote_is_text(tmp_path, settings, writer, monkeypatch):
    """A note, a machine's name, a layer's name and a warning: no HTML, picture, link or control."""
    monkeypatch.setitem(RUN, "device", HOSTILE + " | q")
    monkeypatch.setattr(study_report, "render", lambda text, kind: b"<svg/>")
    pretend(tmp_path / "o", replace(settings, note=HOSTILE), writer)
    for training in trainings(settings, str(tmp_path / "o")):
        if training.arm is SPLIT:
            layers = [{"layer": HOSTILE, "why": HOSTILE}]
            Path(training.plan).write_text(json.dumps({"layers": layers}))
            Path(training.measured).write_text(json.dumps({"warnings": [HOSTILE]}))
    assert study_report.main([str(tmp_path / "o")]) == 0
    page = (tmp_path / "o/report.html").read_text()
    assert "\x1b" not in page and "<script" not in page and "<a " not in page
    assert page.count("<img ") == page.count('src="data:image/') == 9
    shown = "&lt;script&gt;x&lt;/script&gt; ![y](/etc/y.png) [z](javascript:z) `` &lt;img"
    assert page.count(shown) == 5  # the note, also as an argument, device, layer's why, warning
    assert page.count(r"\x1b[31m # w") == 4  # all but the argument, whose lines are kept
    name = "&lt;script&gt;x&lt;/script&gt;'![y](/etc/y.png)'[z](javascript:z)"
    assert page.count(f"<code>{name}") == 2  # of both seeds


def test_a_picture_that_leads_out_of_the_folder(study, tmp_path, tool):
    secret = tmp_path / "secret.png"
    matplotlib.image.imsave(secret, [[0.0, 1.0]])
    plot = study / "seed1/round1/tpm/tpm.png"
    plot.unlink()
    plot.symlink_to(secret)
    status, _, err = tool("study.report", study)
    assert status == 1 and err.count("\n") == 1
    assert f"leads out of the study's folder, to {secret}" in err


def test_without_graphviz_the_text_stands_for_the_picture(study, monkeypatch):
    def missing(text, kind):
        raise draw_net.NoGraphviz(draw_net.NO_GRAPHVIZ)

    monkeypatch.setattr(study_report, "render", missing)
    study_report.main([str(study)])
    text, page = (study / "report.md").read_text(), (study / "report.html").read_text()
    assert text.count("No drawings, as Graphviz is not installed: `pip install pygraphviz`") == 1
    assert (
        page.count(DOT.strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) == 2
    )


def test_an_unfinished_study_is_reported_as_far_as_it_is(tmp_path, settings, writer):
    pretend(tmp_path / "o", settings, writer, skip=("wider", "tpm"))
    study_report.main([str(tmp_path / "o")])
    text = (tmp_path / "o/report.md").read_text()
    assert "**No conclusion yet**: 8 of 12 trainings are complete." in text
    assert "**round 1 restart**" in rows(text) and "Differences" not in text.split("## ", 1)[1]


def conclude(tmp_path, settings, writer):
    pretend(tmp_path / "o", settings, writer)
    study_report.main([str(tmp_path / "o")])
    text = (tmp_path / "o/report.md").read_text()
    return text.split("\n\n")[1], text


def test_the_conclusion_comes_first_and_is_what_the_numbers_carry(
    tmp_path, settings, writer, monkeypatch
):
    settings = replace(settings, arms=("restart",), seeds=3)

    def make(name, tpm, restart, baseline=(0.5, 0.5, 0.5)):
        for arm, values in (("tpm", tpm), ("restart", restart), ("baseline", baseline)):
            monkeypatch.setitem(ACCURACIES, arm, [(0.4, v, v) for v in values])
        (tmp_path / name).mkdir()
        return conclude(tmp_path / name, settings, writer)[0]

    assert make("for", (0.52, 0.521, 0.522), (0.5, 0.502, 0.501)) == (
        "**For the claim** that a split by TPM gains 1 point or more: round 1 tpm - restart is "
        "+2.00 [+1.75, +2.25] points of final accuracy (95% interval, p < 0.001, paired t, "
        "n = 3 seeds)."
    )
    against = make("against", (0.505, 0.504, 0.506), (0.5, 0.501, 0.502))
    assert against.startswith("**Against the claim**") and against.endswith("below it.")
    assert "+0.40 [+0.15, +0.65]" in against  # more than nothing, and less than the claim
    unsure = make("unsure", (0.52, 0.501, 0.522), (0.5, 0.502, 0.501))
    assert unsure.startswith("**Cannot say** whether a split by TPM gains 1 point or more: round 1")
    assert "(sd 1.24) 3 seeds show differences from 4.05 points on (80% power), and 1 " in unsure
    assert unsure.endswith("would take 15 seeds.")
    early = make("early", (0.54, 0.541, 0.542), (0.52, 0.522, 0.521))
    assert early.startswith("**Cannot say**, as the parents had not finished: restarting the rate ")
    assert "+2.10 [+1.85, +2.35] points, more than the 1 point claimed" in early
    alone = conclude(tmp_path, replace(settings, arms=()), writer)[0]
    assert alone.endswith("the arm `restart` is not part of this study.")


def test_arms_that_learnt_nothing_are_named_and_in_no_difference(
    tmp_path, settings, writer, monkeypatch
):
    monkeypatch.setitem(ACCURACIES, "wider", [(0.1, 0.7, 0.7), (0.1, 0.1, 0.0)])
    monkeypatch.setitem(ACCURACIES, "random2", [(0.4, 0.4, 0.1), (0.4, 0.4, "nan")])
    text = conclude(tmp_path, settings, writer)[1]
    assert (
        "\n**Nothing learnt**: round 1 random2 of seed 1 (10.00 %), round 1 random2 of seed 2 "
        "(no number), round 1 wider of seed 2 (0.00 %). They ended below 1.2 times what guessing "
    ) in text
    found = rows(text)
    assert "round 1 tpm - random" not in found and "round 1 tpm - wider" not in found
    assert "**round 1 tpm - restart**" in found and found["1"][-1] == "70.00"


def test_a_collapse_of_the_split_leaves_no_conclusion(tmp_path, settings, writer, monkeypatch):
    monkeypatch.setitem(ACCURACIES, "tpm", [(0.4, 0.6, 0.6), (0.4, 0.4, 0.1)])
    assert conclude(tmp_path, settings, writer)[0].endswith(
        "of `tpm` some collapsed or were left out."
    )


def test_the_studys_accuracies_are_beside_ours_under_its_conditions(tmp_path, writer):
    full = replace(SCALES["full"], train_size=50_000, test_size=10_000, arms=(), rounds=1, seeds=2)
    text = conclude(tmp_path, full, writer)[1]
    assert rows(text)["net"][5] == "the study, best of one run"
    assert rows(text)["**round 1 tpm**"][5] == "92.06"
    assert rows(text)["round 1 tpm - baseline"][-1] == "+1.16"
    assert "are not beside ours" not in text


def test_what_a_user_wrote_is_neither_html_nor_markdown(tmp_path, settings, writer):
    note = "<script>x</script> [a](javascript:b) *c* `d` | e"
    text = conclude(tmp_path, replace(settings, note=note), writer)[1]
    page = (tmp_path / "o/report.html").read_text()
    assert "<script" not in page and "href" not in page and "<em>" not in page
    assert "&lt;script&gt;x&lt;/script&gt; [a](javascript:b) *c* `d` | e" in page
    assert study_report.text.code("a`<b>|c") == "`a'<b>'c`" and text


def test_groups_pool_the_draws_and_pair_by_seed(study, settings):
    found = {g.arm.name: g for g in groups(collect(trainings(settings, str(study))))}
    assert list(found) == ["baseline", "tpm", "random", "restart", "wider"]
    assert found["random"].by_seed("final") == pytest.approx({1: 0.55, 2: 0.55})
    split = next(r for r in found["tpm"].results if r.training.seed == 2)
    assert [r.training.name for r in split.history] == ["baseline", "tpm"]
    (random,) = [e for e in effects(list(found.values())).secondary if e.other.arm.draws]
    assert random.values == pytest.approx((3, 7)) and random.seeds == (1, 2)


def test_errors_are_one_line(tmp_path, study, settings, tool, writer):
    assert tool("study.report", tmp_path)[::2] == (
        1,
        f"report: {tmp_path}/study.json: there is no study here\n",
    )
    pretend(tmp_path / "p", settings, writer, skip=ACCURACIES)
    status, _, err = tool("study.report", tmp_path / "p")
    assert (status, err) == (
        1,
        f"report: {tmp_path}/p: no training is complete, so there is nothing to report\n",
    )
    (study / "seed1/baseline/train.log").write_text("nothing\n")
    status, _, err = tool("study.report", study)
    assert (status, err.count("\n")) == (1, 1)
    assert "seed1/baseline/train.log: no iterations found" in err
    (study / "seed1/baseline/train.log").unlink()
    with pytest.raises(CaffeError, match="File not found: .*plan.json"):
        study_report.read_json(str(study / "plan.json"))
