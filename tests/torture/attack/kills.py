"""SIGKILL at random moments of every command that writes.

After a kill every file under a final name loads. The next call ends well, its files are those of
a run that nobody killed, to the last bit, and no temporary is left. A third of the killed runs
is killed again as they go on. A training's log, too, says what the whole run's says.
"""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path
from typing import Any

from attack import contents
from attack.inputs import ITERATIONS
from attack.starter import Command
from attack.trial import Place, Trial, one_line
from attack.writers import Writer, study, writers

#: one trial in so many is a process of its own, imports included, and one in so many a study
OWN_PROCESS, STUDY = 25, 100
RERUN = 8  # one training in so many replaces the snapshots of another
_CLOCK = re.compile(r"\(.*?s/\d+ iters\)")


class Reference:
    """What a run that nobody disturbs leaves, says and takes."""

    def __init__(self, place: Place, writer: Writer, own_process: bool = False) -> None:
        with place.empty() as folder:
            command = writer.first(folder, own_process)
            start = time.monotonic()
            ended = place.run(command, 300)
            self.seconds = time.monotonic() - start
            if ended.status:
                raise RuntimeError(f"{command}: status {ended.status}: {ended.err[-500:]}")
            self.files = contents.read(folder)
            self.lines = losses(ended.err)
        if wrong := [name for name, held in self.files.items() if str(held).startswith("broken")]:
            raise RuntimeError(f"{command}: {self.files[wrong[0]]}")


def _age(folder: Path, reference: Reference) -> None:
    """Make what a killed run has left a minute old, as old as a person's next call finds it.

    What is younger than two seconds may be another process's, which the next run leaves alone.
    """
    for name, path in contents.files(folder).items():
        if name not in reference.files:
            os.utime(path, (time.time() - 60,) * 2, follow_symlinks=False)


def losses(log: str) -> list[str]:
    """The lines of a training's log that tell its losses, without the times.

    Its tests are left out: a run that goes on tests where it begins, as Caffe does.
    """
    messages = [line.partition("] ")[2].strip() for line in log.splitlines()]
    return [
        _CLOCK.sub("", line)
        for line in messages
        if line.startswith(("Iteration", "Train net output")) and "Testing net" not in line
    ]


class Kills:
    """The part of the kills."""

    name, title, count = "kills", "SIGKILL at a random moment of a command that writes", 200
    counts_attacks = True  # what had ended before its kill was none

    def __init__(self) -> None:
        self._references: dict[Any, Reference] = {}

    def ready(self) -> None:
        """It can be tried everywhere."""

    def reference(self, place: Place, writer: Writer, own_process: bool = False) -> Reference:
        """The undisturbed run of a writer, made once."""
        key = writer.title, own_process
        if key not in self._references:
            self._references[key] = Reference(place, writer, own_process)
        return self._references[key]

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial:
        """One command, killed once or more, then let end."""
        if number % STUDY == STUDY - 1:
            return self._study(place, draw)
        table = writers(place.inputs)
        writer = table[number % len(table)]
        own_process = number % OWN_PROCESS == OWN_PROCESS - 1
        if writer.trains and number % RERUN == RERUN - 1:
            return self._rerun(place, writer, draw)
        reference = self.reference(place, writer, own_process)
        with place.empty() as folder:
            return self.disturb(place, writer, folder, reference, draw, own_process)

    def disturb(
        self,
        place: Place,
        writer: Writer,
        folder: Path,
        reference: Reference,
        draw: random.Random,
        own_process: bool = False,
    ) -> Trial:
        """Kill the writer in `folder`, let it go on, and compare with `reference`."""
        trial = Trial(writer.title, attacks=0)
        command = writer.first(folder, own_process)
        while True:
            moment = draw.uniform(0, reference.seconds)
            with place.starter.started(command) as running:
                time.sleep(moment)
                running.kill()
                trial.attacks += running.killed
            if wrong := contents.broken(folder, set(reference.files)):
                trial.complaints += [f"{command}: killed after {moment:.4f} s: {w}" for w in wrong]
                return trial
            if trial.attacks == 3 or draw.random() < 2 / 3:
                break
            command = writer.next(folder)
        trial.complaints += self.go_on(place, writer, folder, reference)
        return trial

    def go_on(self, place: Place, writer: Writer, folder: Path, reference: Reference) -> list[str]:
        """What is wrong with the run after the last kill."""
        _age(folder, reference)
        command = writer.next(folder)
        ended = place.run(command, 300)
        if ended.status and not writer.once:
            return [f"{command}: status {ended.status} after a kill: {ended.err.strip()[-300:]}"]
        wrong = one_line(command, ended)
        if writer.trains and f"_iter_{ITERATIONS}." not in command.words[-1]:
            said = losses(ended.err)
            if not said or said != reference.lines[-len(said) :]:
                wrong.append(f"{command}: other losses than the whole run's")
        found = contents.differences(contents.read(folder), reference.files)
        return wrong + [f"{command}: after the next run: {line}" for line in found]

    def _rerun(self, place: Place, writer: Writer, draw: random.Random) -> Trial:
        """A training among the snapshots of another: it is never mixed with what was there."""
        form = "HDF5" if "hdf5" in writer.words[-1] else "BINARYPROTO"
        other_solver = place.inputs.solver(f"other.{form.lower()}", form=form, seed=11)
        other = Writer(f"other {form}", "caffe", ("train", "-solver", str(other_solver)))
        references = [self.reference(place, one) for one in (writer, other)]
        trial = Trial(f"{writer.title}, over older snapshots")
        with place.empty() as folder:
            place.run(other.first(folder))
            moment = draw.uniform(0, references[0].seconds)
            with place.starter.started(writer.first(folder)) as running:
                time.sleep(moment)
                running.kill()
                trial.attacks = int(running.killed)
            if wrong := contents.broken(folder, set(references[0].files)):
                trial.complaints += [f"killed after {moment:.4f} s: {line}" for line in wrong]
                return trial
            state = self._newest(folder)
            command = Command("caffe", (*writer.words, "-snapshot", state), folder)
            ended = place.run(command)
            if ended.status:  # a set of files of two runs is refused, in one line
                trial.complaints += one_line(command, ended)
                return trial
            last = [name for name in references[0].files if f"_iter_{ITERATIONS}." in name]
            found = contents.read(folder)
            held = {name: found.get(name) for name in last if not name.endswith(".resume")}
            for reference in references:
                if all(reference.files[name] == value for name, value in held.items()):
                    return trial
            trial.complaints.append(f"{command}: ends as neither of the two trainings")
        return trial

    @staticmethod
    def _newest(folder: Path) -> str:
        """The solver state that was written last."""
        states = [path for path in folder.iterdir() if ".solverstate" in path.name]
        states = [path for path in states if path.name.endswith((".solverstate", ".h5"))]
        return max(states, key=lambda path: path.stat().st_mtime_ns).name

    def _study(self, place: Place, draw: random.Random) -> Trial:
        """A study that is killed, with all that it started, and goes on."""
        data = place.folder / "inputs" / "cifar10"
        if not data.exists():
            words = ("synthetic", "--limit", "80", "--no-zca", "--out", str(data))
            place.run(Command("data_prep", words, place.folder))
        writer = study(place.inputs, data)
        key = ("study", True)
        if key not in self._references:
            self._references[key] = Reference(place, writer)
        reference = self._references[key]
        with place.empty() as folder:
            return self.disturb(place, writer, folder, reference, draw)
