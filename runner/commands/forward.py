"""`caffe forward`: arrays through a net, from a file of NumPy's to another one."""

from __future__ import annotations

import numpy as np

from netgen import schema
from netgen.errors import CaffeError
from runner.commands.flags import Flags
from runner.commands.test import choose_device
from runner.face import Net
from runner.log import glog


def forward(flags: Flags) -> int:
    """Run the TEST net once on the arrays of -inputs; write its outputs, or -blobs, to -outputs.

    Both are .npz files, an array for each blob under the blob's name; the first axis of an input
    may have any size. Raises CaffeError.
    """
    for name, what in (
        ("model", "a model definition to run"),
        ("weights", "model weights to run"),
        ("inputs", "-inputs, an .npz file with an array for each input"),
        ("outputs", "-outputs, the .npz file to write"),
    ):
        if not getattr(flags, name):
            raise CaffeError(f"caffe forward needs {what}.")
    device = choose_device(flags, 266, 275)
    net = Net(
        flags.model, flags.weights, "TEST", flags.level, flags.stages(), device,
        precision=flags.precision, log=True,
    )  # fmt: skip
    blobs = flags.blobs.split(",") if flags.blobs else None
    found = net.forward(blobs, **_arrays(flags.inputs))
    with schema.writing(flags.outputs) as file:
        np.savez(file, **found)
    for name, array in found.items():
        glog.info(f"{name}: {' '.join(map(str, array.shape))}", "caffe.cpp:300")
    return 0


def _arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file. Raises CaffeError."""
    try:
        # Opened here, for np.load leaves a damaged zip open.
        with open(path, "rb") as opened, np.load(opened) as file:
            if isinstance(file, np.ndarray):
                raise CaffeError(f"{path}: one array without a name; an .npz file is wanted")
            return {name: file[name].astype(np.float32) for name in file.files}
    except FileNotFoundError:
        raise CaffeError(f"File not found: {path}") from None
    except schema.DAMAGED_ARRAYS as error:
        if isinstance(error, CaffeError):
            raise
        raise CaffeError(f"{path}: no .npz file of numbers") from None
