"""Snapshots of two trainings under one name, and two trainings that would write under one name."""

from __future__ import annotations

import itertools
import random
import shutil
import time

from attack.inputs import ITERATIONS
from attack.starter import Command, Starter
from attack.trial import Place, Trial, one_line

FORMS = ("BINARYPROTO", "HDF5")
#: whose model, state and .resume: all of one training but never all of the same
MIXTURES = [whose for whose in itertools.product("ab", repeat=3) if len(set(whose)) > 1]
AT = ITERATIONS // 2


class Mixed:
    """The part of the mixed snapshots and of the prefix."""

    name, title, count = "mixed", "mixed snapshot set, or two trainings of one prefix", 14
    counts_attacks = False

    def ready(self) -> None:
        """It can be tried everywhere."""

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial:
        """A mixture in a format; the last two of fourteen are of the prefix."""
        form, index = FORMS[number % 2], number // 2 % (len(MIXTURES) + 1)
        if index == len(MIXTURES):
            return self._prefix(place, form)
        return self._mixture(place, form, "".join(MIXTURES[index]))

    def _mixture(self, place: Place, form: str, whose: str) -> Trial:
        trial = Trial(f"mixed set, {form}")
        tail = ".h5" if form == "HDF5" else ""
        names = [f"s_iter_{AT}.{kind}{tail}" for kind in ("caffemodel", "solverstate")]
        names.append(f"{names[1]}.resume")
        with place.empty() as folder:
            for one, seed in (("a", 3), ("b", 11)):
                (folder / one).mkdir()
                solver = place.inputs.solver(f"mixed.{one}.{form.lower()}", form=form, seed=seed)
                words = ("train", "-solver", str(solver))
                ended = place.run(Command("caffe", words, folder / one))
                if ended.status:
                    raise RuntimeError(ended.err)
            for one, name in zip(whose, names, strict=True):
                shutil.copy(folder / one / name, folder)
            command = Command("caffe", (*words, "-snapshot", names[1]), folder)
            ended = place.run(command)
            trial.complaints = one_line(command, ended)
            if not ended.status:
                trial.complaints.append(f"{command}: goes on with a set of {whose}")
        return trial

    def _prefix(self, place: Place, form: str) -> Trial:
        trial = Trial("two trainings of one prefix")
        solver = place.inputs.solver("long", iterations=100_000, every=200, form=form)
        short = place.inputs.solver("brief", form=form)
        with place.empty() as folder:
            command = Command("caffe", ("train", "-solver", str(short)), folder)
            others = folder / "other"
            others.mkdir()
            second = Starter(others)
            try:
                words = ("train", "-solver", str(solver))
                with second.started(Command("caffe", words, folder)) as running:
                    deadline = time.monotonic() + 30
                    while not list(folder.glob("s_iter_200.*")) and time.monotonic() < deadline:
                        time.sleep(0.05)
                    ended = place.run(command)
                    trial.complaints += one_line(command, ended)
                    if not ended.status:
                        trial.complaints.append(f"{command}: accepted beside another")
                    if not running.running():
                        trial.complaints.append(f"{command}: ended the other")
                ended = place.run(command)  # the first was killed; its lock is gone
                if ended.status:
                    trial.complaints.append(f"{command}: refused after a kill: {ended.err[-300:]}")
            finally:
                second.close()
        return trial
