"""The trainings of a study: baseline, then the chain of splits, and the controls of each round.

After a split every arm but those of the full budget trains for the same iterations, at the same
rates and on the same images in the same order (their random_seed is the same). `scratch` and
`wider` train for as long as the baseline and all rounds so far together.
"""

from dataclasses import dataclass

SPLITS = ("tpm", "inverse", "random1", "random2", "random3")
STEPS = 15  # between the snapshots of a window, as in the study
LONG = 20_000  # iterations from which tests are as often as in the study
_STUDY = 136_719
_WINDOW_END = 130_000  # the last drop of the rate is at 117,188


@dataclass(frozen=True)
class Training:
    """One training: where its files are. round 0 is the baseline, whose arm is `baseline`.

    start: initial weights, None for none. parent: the Training whose net was split, or None.
    """

    seed: int
    round: int
    arm: str
    folder: str
    net: str
    iterations: int
    start: str | None = None
    parent: "Training | None" = None

    def file(self, name):
        return f"{self.folder}/{name}"

    @property
    def record(self):
        return self.file("train.json")

    @property
    def log(self):
        return self.file("train.log")

    @property
    def weights(self):
        return f"{self.prefix}_iter_{self.iterations}.caffemodel"

    @property
    def prefix(self):
        return self.file("snapshot")

    @property
    def description(self):
        """What `netgen describe --json` says of the net."""
        return self.net.removesuffix(".prototxt") + ".json"

    @property
    def stage_name(self):
        return "_".join(self.folder.split("/")[-3 if self.round else -2 :])


def trainings(settings, out):
    """All Trainings of a study: for each seed first the chain of splits, then the controls."""
    first, later = settings.iterations
    for seed in range(1, settings.seeds + 1):
        folder = f"{out}/seed{seed}"
        parent = Training(
            seed, 0, "baseline", f"{folder}/baseline", f"{folder}/baseline/net.prototxt", first
        )
        yield parent
        controls = []
        for number in range(1, settings.rounds + 1):
            here = f"{folder}/round{number}"
            child = _split(seed, number, "tpm", here, later, parent)
            yield child
            if number <= settings.control_rounds:
                budget = first + number * later
                controls += [_control(arm, here, budget, child) for arm in settings.arms]
            parent = child
        yield from controls


def _split(seed, number, arm, here, iterations, parent):
    folder = f"{here}/{arm}"
    return Training(
        seed,
        number,
        arm,
        folder,
        f"{folder}/net.prototxt",
        iterations,
        f"{folder}/start.caffemodel",
        parent,
    )


def _control(arm, here, budget, child):
    parent, folder = child.parent, f"{here}/{arm}"
    if arm in SPLITS:
        return _split(child.seed, child.round, arm, here, child.iterations, parent)
    net, iterations, start = {
        "continue": (parent.net, child.iterations, parent.weights),
        "restart": (parent.net, child.iterations, parent.weights),
        "fresh": (child.net, child.iterations, None),
        "scratch": (child.net, budget, None),
        "wider": (f"{folder}/net.prototxt", budget, None),
    }[arm]
    return Training(child.seed, child.round, arm, folder, net, iterations, start, parent)


def window(settings, iterations):
    """(interval, [iterations of the snapshots]) that a TPM is measured over.

    With drops of the rate around the last one, as in the study; else the last third.
    """
    dropping = settings.lr_policy == "multistep"
    interval = max(1, round(iterations / _STUDY * 1000) if dropping else iterations // 45)
    last = (iterations * _WINDOW_END // _STUDY if dropping else iterations) // interval
    return interval, [i * interval for i in range(max(1, last - STEPS), last + 1)]


def testing_interval(iterations):
    """Iterations from test to test: the study's, or half of a short training or a little less.

    It divides the training if it can, so that there is a test at the end.
    """
    if iterations >= LONG:
        return 500
    whole = [iterations // parts for parts in (2, 3, 4, 5, 7) if iterations % parts == 0]
    return whole[0] if whole else max(1, iterations // 2)
