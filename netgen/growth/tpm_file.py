"""Reading the JSON of `python -m netgen tpm`: what a plan and a plot need of it."""

import math
import os

from netgen.errors import CaffeError
from netgen.growth.jsonfile import read_json


class TpmError(CaffeError):
    """A file that is not the JSON of a TPM measurement; the line names the file and the field."""


def read_tpm(path):
    """The dict that netgen.growth.measure wrote. Raises TpmError."""
    value = read_json(path, TpmError)
    try:
        _check(value)
    except TpmError as error:
        raise TpmError(f"{os.fspath(path)}: {error}") from None
    return value


def _check(value):
    if not isinstance(value, dict) or not isinstance(value.get("layers"), list):
        raise TpmError("not a TPM measurement: an object with a list 'layers' is wanted")
    _field("", value, "net", lambda v: isinstance(v, str), "a name")
    _field("", value, "window", lambda v: _list(v, _count) and len(v) == 2, "two iterations")
    _field("", value, "bins", lambda v: _count(v) and v > 0, "a number of bins")
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


def _check_layer(where, layer, bins):
    def check(name, test, wanted):
        _field(where, layer, name, test, wanted)

    check("num_output", lambda v: _count(v) and v > 0, "a number of outputs")
    check("group", lambda v: _count(v) and v > 0, "a number of groups")
    for name in ("classifier", "shared"):
        check(name, lambda v: isinstance(v, bool), "true or false")
    check("entropy", lambda v: _number(v) and v >= 0, "a number, 0 or more")
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


def _field(where, holder, name, test, wanted):
    if name not in holder:
        raise TpmError(f"{where}field '{name}' is missing")
    if not test(holder[name]):
        raise TpmError(f"{where}field '{name}' must be {wanted}")


def _list(value, test):
    return isinstance(value, list) and all(map(test, value))


def _count(value):
    return type(value) is int and value >= 0


def _number(value):
    return type(value) in (int, float) and math.isfinite(value)
