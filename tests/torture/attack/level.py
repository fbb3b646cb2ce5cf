"""Long runs: the memory and the open descriptors of a training stay what they were."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress

from attack.starter import Command
from attack.trial import Place, Trial, one_line

FORMS = ("BINARYPROTO", "HDF5")
ITERATIONS, EVERY = 6000, 200
MOST_MB, MOST_DESCRIPTORS = 16.0, 2  # growth from the first third of a run to its last


class Level:
    """The part of the long runs."""

    name, title, count = "level", "long run whose memory and descriptors stay level", 2
    counts_attacks = False

    def ready(self) -> None:
        """It can be tried everywhere."""

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial:
        """A training of thousands of iterations with many tests and snapshots, in a format."""
        form = FORMS[number % len(FORMS)]
        trial = Trial(f"{ITERATIONS} iterations, {form}")
        name = f"level.{form.lower()}"
        solver = place.inputs.solver(name, iterations=ITERATIONS, every=EVERY, form=form)
        samples: list[tuple[float, int]] = []
        with place.empty() as folder:
            command = Command("caffe", ("train", "-solver", str(solver)), folder)
            with place.starter.started(command) as running:
                while running.running():
                    with suppress(OSError):
                        descriptors = len(os.listdir(f"/proc/{running.pid}/fd"))
                        samples.append((running.resident_mb(), descriptors))
                    time.sleep(0.05)
                ended = running.end()
            if ended.status:
                trial.complaints.append(f"{command}: status {ended.status}: {ended.err[-200:]}")
            trial.complaints += one_line(command, ended)
        third = len(samples) // 3
        early, late = samples[third // 2 : third], samples[-third:-2]
        if not early or not late:
            trial.complaints.append(f"{command}: too short to be judged")
            return trial
        for what, index, most in (("MB", 0, MOST_MB), ("descriptors", 1, MOST_DESCRIPTORS)):
            before, after = (max(sample[index] for sample in part) for part in (early, late))
            trial.notes[f"growth, {what}"] = max(0.0, after - before)
            if after - before > most:
                trial.complaints.append(f"{command}: from {before:.0f} to {after:.0f} {what}")
        return trial
