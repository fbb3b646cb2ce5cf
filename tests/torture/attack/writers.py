"""Every command that writes files, what it leaves, and how it goes on after it was killed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attack import commands
from attack.inputs import Inputs
from attack.starter import Command

State = re.compile(r"_iter_(\d+)\.solverstate(?:\.h5)?$")


@dataclass(frozen=True)
class Writer:
    """A command that writes into its current folder.

    words: of the first call; again: of the next call, given the folder that a killed one left;
    by default the same words. seconds: how long one call takes at most. heavy: a process of its
    own that starts others, tried more seldom. once: it refuses to write where it has written.
    before: a command whose files are in the folder already, to be replaced.
    """

    title: str
    name: str
    words: tuple[str, ...]
    again: Callable[[Path], tuple[str, ...]] | None = None
    heavy: bool = False
    once: bool = False
    before: tuple[str, ...] = ()

    def first(self, folder: Path, own_process: bool = False) -> Command:
        """The first call."""
        own = own_process or self.heavy
        return Command(self.name, self.words, folder, own_process=own)

    def next(self, folder: Path) -> Command:
        """The call after a kill."""
        words = self.again(folder) if self.again else self.words
        return Command(self.name, words, folder, own_process=self.heavy)

    @property
    def trains(self) -> bool:
        """Whether it is a training, whose log tells of its losses."""
        return self.name == "caffe"


def latest_state(folder: Path) -> str | None:
    """The newest solver state in `folder`, as a person would choose it: the highest number."""
    found = {int(m[1]): path.name for path in folder.iterdir() if (m := State.search(path.name))}
    return found[max(found)] if found else None


def _training(inputs: Inputs, title: str, form: str, **options: int) -> Writer:
    words = ("train", "-solver", str(inputs.solver(form.lower(), form=form, **options)))

    def again(folder: Path) -> tuple[str, ...]:
        state = latest_state(folder)
        return (*words, "-snapshot", state) if state else words

    return Writer(title, "caffe", words, again)


def writers(inputs: Inputs) -> list[Writer]:
    """All of them, the trainings more than once: they are what takes days."""
    net, plan, tpm = str(inputs.net), str(inputs.plan), str(inputs.tpm)
    models = tuple(sorted(map(str, inputs.snapshots.glob("*.caffemodel"))))
    binary = _training(inputs, "caffe train", "BINARYPROTO")
    hdf5 = _training(inputs, "caffe train, HDF5 snapshots", "HDF5")
    transfer = ("transfer", net, str(inputs.weights), "--plan", plan, "-o", "child.caffemodel")
    transfer += ("--history", str(inputs.state), "--history-out", "child.solverstate")
    synthetic = ("synthetic", "--limit", "60", "--no-zca", "--out", "data")
    found = [
        binary,
        hdf5,
        Writer("data_prep synthetic", "data_prep", synthetic),
        binary,
        Writer(
            "data_prep mnist", "data_prep", ("mnist", "--source", str(inputs.mnist), "--out", "d")
        ),
        hdf5,
        Writer("netgen -o", "netgen", ("resnet20", "-o", "net.prototxt")),
        binary,
        Writer("netgen tpm --json", "netgen", ("tpm", net, *models, "--json", "tpm.json")),
        Writer("netgen plan -o", "netgen", ("plan", tpm, "--layers", "conv1", "-o", "plan.json")),
        Writer("netgen split -o", "netgen", ("split", net, "--plan", plan, "-o", "child.prototxt")),
        Writer("netgen transfer", "netgen", transfer),
        Writer("parse_log", "parse_log", (str(inputs.log), "tables/")),
        Writer("parse_log --json", "parse_log", ("--json", str(inputs.log), "tables/")),
        Writer("plot_loss", "plot_loss", (str(inputs.log), "--no_refresh", "-o", "loss.png")),
        Writer("plot_tpm", "plot_tpm", (tpm, "-o", "tpm.svg")),
        Writer("draw_net", "draw_net", (net, "-o", "net.dot")),
    ]
    if commands.has("convert_imageset"):
        words = (f"{inputs.images}/", str(inputs.folder / "images.txt"), "images_lmdb")
        found.append(Writer("convert_imageset", "convert_imageset", words, once=True))
    if commands.has("compute_image_mean"):
        words = (str(inputs.folder / "train_lmdb"), "mean.binaryproto")
        found.append(Writer("compute_image_mean", "compute_image_mean", words))
    return found


def study(inputs: Inputs, folder: Path) -> Writer:
    """A whole case study of a few iterations, on the data in `folder`."""
    words = ("--scale", "tiny", "--out", "study", "--data", str(folder), "--arms", "none")
    words += ("--width", "0.0625", "--iterations", "12", "6", "--batch-size", "8")
    return Writer("study", "study", words, heavy=True)
