"""The command line's flags, in every spelling gflags takes: -x v, --x v, -x=v, --x=v."""

import re
from dataclasses import dataclass, field

from netgen.errors import CaffeError

VERSION = "1.0.0"

#: name -> (default, help). Caffe's own, then ours.
FLAGS = {
    "gpu": ("", "Optional; run in GPU mode on the given device IDs separated by ','. "
                "Use '-gpu all' to run on all available GPUs."),
    "solver": ("", "The solver definition protocol buffer text file."),
    "model": ("", "The model definition protocol buffer text file."),
    "phase": ("", "Optional; network phase (TRAIN or TEST). Only used for 'time'."),
    "level": (0, "Optional; network level."),
    "stage": ("", "Optional; network stages (not to be confused with phase), separated by ','."),
    "snapshot": ("", "Optional; the snapshot solver state to resume training."),
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

USAGE = """caffe: command line brew
usage: caffe <command> <args>

commands:
  train           train or finetune a model
  test            score a model
  device_query    show GPU diagnostic information
  time            benchmark model execution time
"""


class FlagError(CaffeError):
    """A flag that is unknown or has no usable value; shown as gflags does."""


@dataclass
class Flags:
    """What was given: the positional words and every flag's value, as attributes."""

    words: list = field(default_factory=list)
    values: dict = field(default_factory=lambda: {name: d for name, (d, _) in FLAGS.items()})

    def __getattr__(self, name):
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    def stages(self):
        """The stages of -stage; without it one empty stage, as in Caffe."""
        return self.stage.split(",")


def parse(arguments):
    """Flags from the words after the program's name. Raises FlagError."""
    flags, rest = Flags(), list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            flags.words += rest
            break
        if not word.startswith("-") or word == "-":
            flags.words.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if name in ("help", "h", "version"):
            flags.values[name] = True
            continue
        if name not in FLAGS:
            raise FlagError(f"unknown command line flag '{name}'")
        if not equals:
            if not rest:
                raise FlagError(f"flag '--{name}' is missing its argument; flag description: "
                                f"{FLAGS[name][1]}")
            value = rest.pop(0)
        flags.values[name] = _typed(name, value)
    return flags


def _typed(name, value):
    if not isinstance(FLAGS[name][0], int):
        return value
    digits = re.fullmatch(r"\s*([-+]?)(0x[0-9a-f]+|[0-9]+)", value, re.IGNORECASE)
    number = int(digits[1] + digits[2], 16 if "x" in digits[2].lower() else 10) if digits else None
    if number is None or not -(2**31) <= number < 2**31:
        raise FlagError(f"illegal value '{value}' specified for int32 flag '{name}'")
    return number


def help_text():
    """Usage and all flags with their defaults."""
    lines = [USAGE, "flags:"]
    for name, (default, text) in FLAGS.items():
        shown = f'"{default}"' if isinstance(default, str) else default
        lines.append(f"  -{name} ({text}) default: {shown}")
    return "\n".join(lines)
