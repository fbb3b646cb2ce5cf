"""The report of a study whose logs and records are made up."""

import base64
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
from study.plan import stages
from study.results import collect
from study.settings import SCALES
from study.statistics import differences, groups, mean_sd
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
        Path(training.description).write_text(json.dumps({"totals": totals}))
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
        "52.00",
        "51.00 ± 1.41",
        "49.00 ± 1.41",
        "1,010 to 1,020",
        "2.5",
        "-",
        "-",
        "2,400",
        "9 s",
    ]
    assert found["**round 1 tpm**"][1:9] == [
        "2",
        "62.00",
        "61.00 ± 1.41",
        "60.00 ± 2.83",
        "1,010 to 1,020",
        "2.5",
        "49.00",
        "41.00",
    ]
    assert found["**round 1 random**"][1:5] == ["4", "60.00", "55.00 ± 5.77", "55.00 ± 5.77"]
    assert found["**round 1 wider**"][7:9] == ["-", "-"]  # it was not split from anything
    assert found["round 1"] == ["2", "+10.00 ± 0.00", "+11.00 ± 1.41", "+1.16"]
    assert found["round 1: tpm - random"] == ["2", "+6.00 ± 1.41", "+5.00 ± 2.83"]
    assert found["round 1: tpm - restart"] == ["2", "+5.00 ± 0.00", "+5.00 ± 2.83"]
    assert found["round 1: tpm - wider"] == ["2", "-9.00 ± 1.41", "-10.00 ± 2.83"]
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
        "- `conv1`: entropy 1.2 >= 1.1 x mean 1",
        "at most 0.25 of the largest",
        "seed 2 splits conv1",
        "uncertain by 0.46 points",
    ):
        assert said in text
    assert "Unfinished" not in text and "Nothing learnt" not in text


def test_all_commands_are_told(study, settings):
    study_report.main([str(study)])
    page = (study / "report.html").read_text()
    commands = [str(c) for stage in stages(settings, str(study)) for c in stage.commands]
    assert len(commands) > 50
    assert all(c.replace(">", "&gt;") in page for c in commands)


def test_page_needs_no_other_file(study, monkeypatch):
    monkeypatch.setattr(study_report, "render", lambda text, kind: b"<svg/>")
    study_report.main([str(study)])
    page = (study / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 6  # final, two seeds' curves, TPM, the net before and after
    pictures = [re.fullmatch(r"data:image/(png|svg\+xml);base64,(.+)", s).groups() for s in sources]
    assert [kind for kind, _ in pictures] == ["png"] * 4 + ["svg+xml"] * 2
    curves = matplotlib.image.imread(io.BytesIO(base64.b64decode(pictures[1][1])))
    assert curves.shape[1] > 1000
    assert base64.b64decode(pictures[5][1]) == b"<svg/>"
    assert (study / "seed1/round1/tpm/net.svg").read_bytes() == b"<svg/>"
    assert "&lt;a&gt; &amp; b" in page and "<a>" not in page


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
    assert "**Unfinished**: 8 of 12 trainings are complete." in text
    assert "**round 1 restart**" in rows(text) and "round 1: tpm - restart" not in rows(text)


def test_trainings_that_learnt_nothing_are_named(tmp_path, settings, writer, monkeypatch):
    monkeypatch.setitem(ACCURACIES, "wider", [(0.1, 0.7, 0.7), (0.1, 0.1, 0.0)])
    monkeypatch.setitem(ACCURACIES, "random2", [(0.4, 0.4, 0.1), (0.4, 0.4, 0.11)])
    pretend(tmp_path / "o", settings, writer)
    study_report.main([str(tmp_path / "o")])
    assert (
        "\n**Nothing learnt** (final accuracy under 12 %): round 1 random (2 of 4), round 1 "
        "wider (1 of 2).\n"
    ) in (tmp_path / "o/report.md").read_text()


def test_groups_pool_the_draws_and_pair_by_seed(study, settings):
    found = {g.arm.name: g for g in groups(collect(trainings(settings, str(study))))}
    assert list(found) == ["baseline", "tpm", "random", "restart", "wider"]
    assert found["random"].by_seed("final") == pytest.approx({1: 0.55, 2: 0.55})
    assert differences(found["tpm"], found["random"], "final") == pytest.approx([0.03, 0.07])
    assert mean_sd([1.0]) == (1.0, None)
    assert mean_sd([]) == (None, None)


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
