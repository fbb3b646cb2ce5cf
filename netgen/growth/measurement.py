"""A TPM measurement: what `python -m netgen tpm` measures, writes, prints, and what plans are made of.

README.md lists the fields of its file. A plan and a plot need only some of them; a file may lack
the others.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

from netgen.growth.errors import TpmError
from netgen.growth.kinds import is_part
from netgen.schema import json_text, read_json


@dataclass(frozen=True, kw_only=True)
class LayerMeasurement:
    """What was measured of one convolution.

    num_output: its kernels. weights: how many it has, without biases. kernel: their size.
    classifier: whether its outputs reach the loss through no other learned layer. shared: whether
    another layer has the same weights. entropy: in nats, of the histogram of tpm. histogram: the
    kernels in each bin. With one value for each kernel: tpm; displacement and path_length, how
    far it ended from its start and how long its way was; cosine, the mean over all pairs of moves,
    None where there were fewer than two; dead, whether nothing but decay moves it.
    """

    name: str
    num_output: int
    weights: int | None = None
    kernel: tuple[int, ...] = ()
    group: int
    classifier: bool
    shared: bool
    entropy: float
    histogram: tuple[int, ...]
    tpm: tuple[float, ...]
    displacement: tuple[float, ...] = ()
    path_length: tuple[float, ...] = ()
    cosine: tuple[float | None, ...] = ()
    dead: tuple[bool, ...]

    @property
    def corrected_entropy(self) -> float:
        """The entropy without what it lacks because the kernels are few; plans compare this."""
        from netgen.growth.trajectory import expected_entropy  # only now, as it imports NumPy

        return expected_entropy(self.histogram)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The TPM of every convolution of a net in a window of its training.

    net: its name. window: the first and the last iteration. iterations: of all snapshots.
    spacing: iterations between two snapshots, None where that differs. rate_drops: pairs of
    iterations between which the learning rate dropped, None where that is not known. bins: of the
    histograms over [0, 1]. warnings: what a reader should know before he trusts the numbers.
    layers: in the order of the net.
    """

    net: str
    window: tuple[int, int]
    iterations: tuple[int, ...] = ()
    spacing: int | None = None
    rate_drops: tuple[tuple[int, int], ...] | None = None
    bins: int
    warnings: tuple[str, ...] = ()
    layers: tuple[LayerMeasurement, ...]

    @property
    def mean_entropy(self) -> float:
        """The mean over all layers, glue and classifier included."""
        return math.fsum(layer.entropy for layer in self.layers) / len(self.layers)

    @property
    def mean_corrected_entropy(self) -> float:
        """The mean of the corrected entropies, over the same layers."""
        return math.fsum(layer.corrected_entropy for layer in self.layers) / len(self.layers)

    def threshold(self, layer: LayerMeasurement, factor: float) -> float:
        """The corrected entropy from which on `layer` is worth splitting.

        It is mean (1 + (factor - 1) sqrt(M / N)), with the mean over all layers, N the kernels
        of the layer and M the median of the kernels of all layers: chance moves an entropy by
        about 1 / sqrt(N), so layers that do not differ are chosen equally often whatever their
        size. A factor under 1 is not stretched.
        """
        middle = median(layer.num_output for layer in self.layers)
        stretch = math.sqrt(middle / layer.num_output) if factor > 1 else 1.0
        return self.mean_corrected_entropy * (1 + (factor - 1) * stretch)

    def to_json(self) -> str:
        """The text of its file, ending in a newline."""
        value = {}
        for name, item in asdict(self).items():
            value[name] = item
            if name == "bins":
                value["mean_entropy"] = self.mean_entropy
        return f"{json_text(value)}\n"


def read_tpm(path: str | os.PathLike[str]) -> Measurement:
    """The Measurement in a JSON file. Raises TpmError with one line that names the file."""
    value = read_json(path, TpmError)
    try:
        return _measurement(value)
    except TpmError as error:
        raise TpmError(f"{os.fspath(path)}: {error}") from None


def table(measured: Measurement) -> list[str]:
    """The lines that are printed: the mean, then every layer, the highest entropy first.

    Where the net has parts of split layers, rows carry the number of weights too.
    """
    grown = any(is_part(layer.name) for layer in measured.layers)
    lines = [f"Mean TPM ratio entropy = {_twelve_digits(measured.mean_entropy)}"]
    for layer in sorted(measured.layers, key=lambda layer: -layer.entropy):
        row = (layer.name, layer.num_output) + ((layer.weights,) if grown else ())
        lines.append(f"{row} {_twelve_digits(layer.entropy)}")
    return lines


def _twelve_digits(value: float) -> str:
    """Twelve significant digits, as the study's tables have them."""
    text = f"{value:.12g}"
    return text if any(c in text for c in ".e") else f"{text}.0"


# --- reading ---


def _measurement(value: Any) -> Measurement:
    if not isinstance(value, dict) or not isinstance(value.get("layers"), list):
        raise TpmError("not a TPM measurement: an object with a list 'layers' is wanted")
    _field("", value, "net", lambda v: isinstance(v, str), "a name")
    _field("", value, "window", lambda v: _list(v, _count) and len(v) == 2, "two iterations")
    _field("", value, "bins", lambda v: _count(v) and v > 0, "a number of bins")
    _may("", value, "iterations", lambda v: _list(v, _count), "a list of iterations")
    _may("", value, "spacing", lambda v: v is None or _count(v), "a number of iterations or null")
    _may("", value, "rate_drops", _drops, "a list of pairs of iterations or null")
    _may("", value, "warnings", lambda v: _list(v, _text), "a list of lines")
    if not value["layers"]:
        raise TpmError("field 'layers' is empty")
    names = set()
    for i, layer in enumerate(value["layers"]):
        if not isinstance(layer, dict) or not isinstance(layer.get("name"), str):
            raise TpmError(f"layers[{i}] must be an object with a 'name'")
        where = f"layer {layer['name']!r}: "
        if layer["name"] in names:
            raise TpmError(f"{where}is there twice")
        names.add(layer["name"])
        _check_layer(where, layer, value["bins"])
    layers = tuple(_made(LayerMeasurement, layer) for layer in value["layers"])
    return _made(Measurement, value | {"layers": layers})


def _made(kind: type, value: dict[str, Any]) -> Any:
    """The dataclass with the fields that the file has, lists as tuples."""
    names = {field.name for field in fields(kind)}
    return kind(**{name: _tuples(item) for name, item in value.items() if name in names})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _check_layer(where: str, layer: dict[str, Any], bins: int) -> None:
    def check(name: str, test: Callable[[Any], bool], wanted: str) -> None:
        _field(where, layer, name, test, wanted)

    check("num_output", lambda v: _count(v) and v > 0, "a number of outputs")
    check("group", lambda v: _count(v) and v > 0, "a number of groups")
    for name in ("classifier", "shared"):
        check(name, lambda v: isinstance(v, bool), "true or false")
    check("entropy", lambda v: _number(v) and v >= 0, "a number, 0 or more")
    _may(where, layer, "weights", lambda v: v is None or _count(v), "a number of weights or null")
    _may(where, layer, "kernel", lambda v: _list(v, _count), "a list of sizes")
    for name in ("displacement", "path_length", "cosine"):
        _may(where, layer, name, lambda v: _list(v, _number_or_null), "a list of numbers or null")
    outputs = layer["num_output"]
    if outputs % layer["group"]:
        raise TpmError(f"{where}{outputs} outputs are not a multiple of {layer['group']} groups")
    for name, test, count, wanted in (
        ("histogram", _count, bins, "whole numbers"),
        ("tpm", lambda v: _number(v) and 0 <= v <= 1, outputs, "numbers from 0 to 1"),
        ("dead", lambda v: isinstance(v, bool), outputs, "true or false"),
    ):
        check(name, lambda v, test=test: _list(v, test), f"a list of {wanted}")
        if len(layer[name]) != count:
            raise TpmError(f"{where}field '{name}' has {len(layer[name])} values, not {count}")


def _field(
    where: str, holder: dict[str, Any], name: str, test: Callable[[Any], bool], wanted: str
) -> None:
    """Raise TpmError unless the field is there and passes the test."""
    if name not in holder:
        raise TpmError(f"{where}field '{name}' is missing")
    _may(where, holder, name, test, wanted)


def _may(
    where: str, holder: dict[str, Any], name: str, test: Callable[[Any], bool], wanted: str
) -> None:
    """Raise TpmError where the field is there and fails the test."""
    if name in holder and not test(holder[name]):
        raise TpmError(f"{where}field '{name}' must be {wanted}")


def _list(value: Any, test: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(test, value))


def _drops(value: Any) -> bool:
    return value is None or _list(value, lambda pair: _list(pair, _count) and len(pair) == 2)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # and no NaN


def _number_or_null(value: Any) -> bool:
    return value is None or _number(value)
