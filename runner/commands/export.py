"""`caffe export`: a trained net for other programs."""

from __future__ import annotations

import os

from netgen.commandline import say
from netgen.errors import CaffeError
from runner.commands.flags import Flags
from runner.face import Net
from runner.face import export as export_net


def export(flags: Flags) -> int:
    """Write the net of -model and -weights to -o; say what is there and how right it is."""
    for name, what in (("model", "a model definition"), ("weights", "model weights")):
        if not flags.values[name]:
            raise CaffeError(f"Need {what} to export: -{name} FILE")
    if not flags.o:
        raise CaffeError("Need a file to export to: -o FILE.onnx or FILE.safetensors")
    if flags.batch < 0:
        raise CaffeError(f"-batch {flags.batch}: a batch has at least one record")
    net = Net(flags.model, flags.weights, level=flags.level, stages=flags.stages())
    differences = export_net(net, flags.o, flags.batch or None)
    say(f"Wrote {flags.o}, {os.path.getsize(flags.o):,} bytes")
    for name, value in differences.items():
        say(f"{name}: onnxruntime differs by {value:.1e} of the largest value")
    return 0
