"""The command line's flags, in every spelling gflags takes: -x v, --x v, -x=v, --x=v."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from netgen.errors import CaffeError

VERSION = "1.0.0"  # of the Caffe whose command line this is

#: name -> (default, help). Caffe's own (log_dir is glog's).
CAFFE_FLAGS = {
    "gpu": ("", "Optional; run in GPU mode on the given device IDs separated by ','. "
                "Use '-gpu all' to run on all available GPUs."),
    "solver": ("", "The solver definition protocol buffer text file; several, separated by ',', "
                   "are trained at once in this process."),
    "model": ("", "The model definition protocol buffer text file."),
    "phase": ("", "Optional; network phase (TRAIN or TEST). Only used for 'time'."),
    "level": (0, "Optional; network level."),
    "stage": ("", "Optional; network stages (not to be confused with phase), separated by ','."),
    "snapshot": ("", "Optional; the snapshot solver state to resume training (one a solver)."),
    "weights": ("", "Optional; the pretrained weights to initialize finetuning, separated by "
                    "','. Cannot be set simultaneously with snapshot."),
    "iterations": (50, "The number of iterations to run."),
    "sigint_effect": ("stop", "Optional; action to take when a SIGINT signal is received: "
                              "snapshot, stop or none."),
    "sighup_effect": ("snapshot", "Optional; action to take when a SIGHUP signal is received: "
                                  "snapshot, stop or none."),
    "log_dir": ("", "Optional; also write the log to a file in this directory; by default to "
                    "./logs where that exists (train)."),
}  # fmt: skip

#: Ours alone: an external Caffe does not know them.
OWN_FLAGS = {
    "engine": ("torch", "Optional; what runs the nets: torch, the embedded engine, or pycaffe, "
                        "an external C++ Caffe (CAFFE_ROOT, or built by `build_pycaffe`)."),
    "batch": (0, "Optional; the one batch size of what export writes; by default any will do."),
    "layers": ("", "Optional; Python files that register layer types of your own, separated by "
                   "','; CAFFE_LAYERS names more."),
    "o": ("", "The file that export writes: .onnx, .safetensors, .caffemodel or .caffemodel.h5."),
    "sigterm_effect": ("stop", "Optional; action to take when a SIGTERM signal is received, "
                               "which ends C++ Caffe at once: snapshot, stop or none."),
    "precision": ("fp32", "Optional; what convolutions and inner products compute in: fp32, "
                          "tf32 (CUDA) or bf16, or for train auto: the fastest of them. Weights "
                          "and updates are float32 in each."),
    "inputs": ("", "For 'forward': an .npz file with an array for each input blob."),
    "outputs": ("", "For 'forward': the .npz file to write, with an array for each output."),
    "blobs": ("", "Optional; for 'forward': the blobs to write instead, separated by ','."),
    "mean": ("", "Optional; the mean image that the net was trained with, a binaryproto, or a "
                 ".npy as of Caffe's scripts. A preprocessing.npz beside it is used as well. Only "
                 "used for 'classify', as are all below."),
    "preprocessing": ("", "Optional; the preprocessing.npz that data_prep wrote beside the records "
                          "of the training: size, order of channels, GCN, ZCA, zeros around."),
    "transform": ("", "Optional; the net that was trained: the transform_param (mean, scale, crop) "
                      "of its data layer in phase TEST, and the preprocessing.npz beside that "
                      "layer's source."),
    "labels": ("", "Optional; names of the classes, one a line; by default those of the "
                   "preprocessing.npz."),
    "json": (False, "Optional; print a list of objects {image, predictions}."),
}  # fmt: skip

FLAGS = {**CAFFE_FLAGS, **OWN_FLAGS}
#: what gflags takes for a flag that is true or false; without a value it is true
BOOLEANS = {
    **dict.fromkeys(("1", "t", "true", "y", "yes"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no"), False),
}
#: flags that take one of a few words
CHOICES = {"engine": ("torch", "pycaffe"), "precision": ("fp32", "tf32", "bf16", "auto")}

USAGE = """caffe: command line brew
usage: caffe <command> <args>

commands:
  train           train or finetune a model
  test            score a model
  device_query    show GPU diagnostic information
  time            benchmark model execution time
  forward         run a model on the arrays of a file
  classify IMAGE...
                  the five most probable classes of each picture
  export          write a trained net for other programs (-model, -weights, -o)
  verify FILE...  check models, solver states, .resume files and LMDB folders
"""


class FlagError(CaffeError):
    """A flag that is unknown or has no usable value; shown as gflags does."""


@dataclass
class Flags:
    """What was given: the positional words and every flag's value, as attributes.

    arguments: everything, as it was written.
    """

    words: list = field(default_factory=list)
    values: dict = field(default_factory=lambda: {name: d for name, (d, _) in FLAGS.items()})
    arguments: list = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    def solvers(self) -> list[str]:
        """The paths of -solver: several, separated by ',', unless there is a file of that name."""
        return [self.solver] if os.path.exists(self.solver) else self.solver.split(",")

    def stages(self) -> list[str]:
        """The stages of -stage; without it one empty stage, as in Caffe."""
        return self.stage.split(",")


def parse(arguments: Sequence[str]) -> Flags:
    """Flags from the words after the program's name. Raises FlagError."""
    flags = Flags(arguments=list(arguments))
    for words, name, value in _walk(arguments):
        if name is None:
            flags.words += words[1:] if words[0] == "--" else words
        elif name in ("help", "h", "version"):
            flags.values[name] = True
        elif name not in FLAGS:
            raise FlagError(f"unknown command line flag '{name}'")
        else:
            flags.values[name] = _typed(name, value)
    return flags


def take_own(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """(values of OWN_FLAGS that were given, all other words as they were). Raises FlagError.

    Other flags are not looked at: an external Caffe may have more than we know.
    """
    own, others = {}, []
    for words, name, value in _walk(arguments):
        if name in OWN_FLAGS:
            own[name] = _typed(name, value)
        else:
            others += words
    return own, others


def without(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """The words of a command line without these flags and their values."""
    return [word for words, name, _ in _walk(arguments) if name not in names for word in words]


def _walk(arguments):
    """(its words, the flag's name, its value) for each flag; (words, None, None) for the rest."""
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            yield [word, *rest], None, None
            return
        if not word.startswith("-") or word == "-":
            yield [word], None, None
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if equals:
            yield [word], name, value
        elif name in FLAGS and isinstance(FLAGS[name][0], bool):
            yield [word], name, "true"
        elif name in FLAGS and rest:
            value = rest.pop(0)
            yield [word, value], name, value
        else:
            yield [word], name, None


def _typed(name, value):
    if value is None:
        raise FlagError(
            f"flag '--{name}' is missing its argument; flag description: {FLAGS[name][1]}"
        )
    if name in CHOICES and value not in CHOICES[name]:
        raise FlagError(
            f"illegal value '{value}' specified for flag '{name}': {' or '.join(CHOICES[name])}"
        )
    if isinstance(FLAGS[name][0], bool):
        if value not in BOOLEANS:
            raise FlagError(f"illegal value '{value}' specified for bool flag '{name}'")
        return BOOLEANS[value]
    if not isinstance(FLAGS[name][0], int):
        return value
    digits = re.fullmatch(r"\s*([-+]?)(0x[0-9a-f]+|[0-9]+)", value, re.IGNORECASE)
    number = int(digits[1] + digits[2], 16 if "x" in digits[2].lower() else 10) if digits else None
    if number is None or not -(2**31) <= number < 2**31:
        raise FlagError(f"illegal value '{value}' specified for int32 flag '{name}'")
    return number


def help_text() -> str:
    """Usage and all flags with their defaults."""
    lines = [USAGE, "flags:"]
    for name, (default, text) in FLAGS.items():
        shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
        lines.append(f"  -{name} ({text}) default: {shown}")
    return "\n".join(lines)
