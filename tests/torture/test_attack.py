"""A slice of the attack: one trial of every kind that can be tried here, and the attack itself."""

import shutil

import pytest
from attack import contents
from attack.bombs import BOMBS, Bombs
from attack.cuts import Cuts
from attack.faults import FAULTS, Faults
from attack.kills import Kills
from attack.mixed import Mixed
from attack.mutants import Mutants, Reader, read_all
from attack.report import BY_HAND, Report
from attack.starter import Command
from attack.trial import Place, Refused, Trial, draws, one_line
from attack.writers import writers


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("torture"))
    yield place
    place.close()


@pytest.mark.parametrize("number", (0, 1, 6, 12))
def test_a_killed_command_loses_nothing(place, number):
    assert Kills().trial(place, number, draws(5, "kills", number)).complaints == []


@pytest.mark.parametrize("number", (0,))
def test_a_power_cut_leaves_nothing_broken(place, number):
    cuts = Cuts()
    try:
        cuts.ready()
        trial = cuts.trial(place, number, draws(5, "cuts", number))
    except Refused as refused:
        pytest.skip(str(refused))
    assert trial.complaints == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_loses_nothing(place, fault):
    number = 2 * len(FAULTS) + FAULTS.index(fault)  # under data_prep
    trial = Faults().trial(place, number, draws(5, "faults", number))
    assert trial.kind.startswith(fault) and trial.complaints == []


@pytest.mark.parametrize("bomb", ("pickle, memo of 2^28", "HDF5 of 64 GB", "JSON, 2^40 bins"))
def test_a_bomb_is_one_line_under_a_gigabyte(place, bomb):
    number = list(BOMBS).index(bomb)
    trial = Bombs().trial(place, number, draws(5, "bombs", number))
    assert trial.kind == bomb and trial.complaints == [] and 0 < trial.notes["peak"] < 1024


@pytest.mark.parametrize("number", (0, 12))
def test_a_mixed_set_and_a_second_training_are_refused(place, number):
    assert Mixed().trial(place, number, draws(5, "mixed", number)).complaints == []


@pytest.mark.parametrize("number", (5, 7, 9))
def test_damaged_inputs_are_answered_in_one_line(place, number):
    assert Mutants().trial(place, number, draws(5, "mutants", number)).complaints == []


def test_a_training_of_a_billion_iterations_is_no_hang_and_a_program_without_end_is(
    place, tmp_path
):
    folder = tmp_path / "in"
    folder.mkdir()
    solver = place.inputs.solver("endless", iterations=10**9, every=0)
    reader = Reader("solver", solver, "caffe", ("train", "-solver", "{}"))
    cases = [("a number", solver.read_bytes()), ("cut", b"net:")]
    assert read_all(place, reader, folder, cases, trains=0.5) == []
    log = place.inputs.log.read_bytes()
    words = ("{}", "--every", "1", "-o", "{folder}/out.png")
    reader = Reader("log", place.inputs.log, "plot_loss", words)
    cases = [("cut", log[: log.index(b"Iteration 4")])]
    assert read_all(place, reader, folder, cases, slow=2) == [
        "log, cut (input 0): no end after 2 s"
    ]


def test_a_kill_that_came_too_late_is_not_counted(tmp_path):
    report = Report(tmp_path)
    for attacks in (0, 2, 0, 1):
        report.add(Kills(), 3, Trial("netgen -o", attacks=attacks), 0.1)
    assert (report.trials(Kills(), 3), report.attacks(Kills(), 3)) == (4, 3)
    assert "--kills 3 --seed 3" in report.page([Kills()])


def test_what_people_wrote_on_the_page_stays(tmp_path):
    here, there, page = Report(tmp_path / "a"), Report(tmp_path / "b"), tmp_path / "page.md"
    here.add(Mutants(), 1, Trial("log", attacks=40), 0.1)
    here.write_page(page, [Mutants()])
    assert page.read_text().endswith(BY_HAND + "\n")
    page.write_text(page.read_text() + "It was mended.\n")
    there.add(Mutants(), 2, Trial("log", ["log: traceback"], attacks=40), 0.1)
    here.include(there)
    here.write_page(page, [Mutants()])
    assert page.read_text().endswith(BY_HAND + "\nIt was mended.\n")
    assert page.read_text().count(BY_HAND) == 1 and "| 80 | 1 | 2, 1 |" in page.read_text()


def test_the_attack_sees_what_is_broken_missing_and_left_over(place, tmp_path):
    writer = writers(place.inputs)[0]
    assert place.run(writer.first(tmp_path)).status == 0
    whole = contents.read(tmp_path)
    assert contents.differences(contents.read(tmp_path), whole) == []
    model, state = (tmp_path / f"s_iter_3.{kind}" for kind in ("caffemodel", "solverstate"))
    model.write_bytes(b"")
    shutil.move(state, tmp_path / "left.tmp")
    assert contents.broken(tmp_path, set(whole)) == [
        "s_iter_3.caffemodel: ValueError: the file is empty"
    ]
    assert contents.differences(contents.read(tmp_path), whole) == [
        "s_iter_3.solverstate: missing",
        "left.tmp: left over",
        "s_iter_3.caffemodel: broken: ValueError: the file is empty",
    ]


def test_a_trial_is_the_same_again():
    assert [draws(1, "kills", 7).random() for _ in range(2)] == [draws(1, "kills", 7).random()] * 2
    assert draws(1, "kills", 7).random() != draws(2, "kills", 7).random()


def test_a_forked_command_answers_as_its_command_line_does(place, tmp_path):
    for own_process in (False, True):
        command = Command("netgen", ("describe", "none"), tmp_path, own_process=own_process)
        ended = place.run(command)
        assert (ended.status, ended.err) == (1, "netgen: File not found: none\n")
        assert one_line(command, ended) == []
