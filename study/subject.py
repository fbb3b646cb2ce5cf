"""The net that a study is of: a bundled one with its recipe, or a prototxt with its solver.

What a study is begun with is completed here: sizes of the data, and the batch, rate and policy that
nobody named. study.json keeps them, so that later calls and the listing of stages need no net.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from netgen import graph, schema
from netgen.commands.render import render
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from netgen.schema.lmdb import LMDBError, LMDBFolder
from study.arms import CONTROLS, WIDENED
from study.settings import DATA_SETS, Settings, net_words

# What Net2Wider cannot carry over; `study.net2wider` tells why.
_MIXED = {"Eltwise", "Concat", "Slice", "LRN"}


def completed(settings: Settings) -> Settings:
    """The Settings with what their net, its solver and its data say. Raises CaffeError."""
    net, solver = _net(settings), _solver(settings)
    return replace(
        settings,
        train_size=_records(settings, net, caffe_pb.TRAIN),
        test_size=_records(settings, net, caffe_pb.TEST),
        batch_size=settings.batch_size or _batch(net, caffe_pb.TRAIN),
        base_lr=settings.base_lr or float(f"{solver.base_lr:.6g}"),
        lr_policy=settings.lr_policy or solver.lr_policy,
    )


def with_possible_arms(settings: Settings) -> Settings:
    """The Settings without the arms that their net cannot have, where all were asked for.

    Raises CaffeError where such an arm was named.
    """
    unable = _unable(settings, _net(settings))
    wrong = [arm for arm in settings.arms if arm in unable]
    if wrong and not set(CONTROLS) <= set(settings.arms):
        raise CaffeError(f"arm '{wrong[0]}' is not for {settings.net}: {unable[wrong[0]]}")
    return replace(settings, arms=tuple(arm for arm in settings.arms if arm not in unable))


def _unable(settings: Settings, net: caffe_pb.NetParameter) -> dict[str, str]:
    """{arm: why the net cannot have it}"""
    if settings.is_file:
        return dict.fromkeys(WIDENED, "a prototxt has no --width, a bundled net has")
    mixed = sorted({layer.type for layer in net.layer} & _MIXED)
    if mixed:
        return {"net2wider": f"it has layers of type {', '.join(mixed)}"}
    return {}


def _net(settings: Settings) -> caffe_pb.NetParameter:
    if settings.is_file:
        return schema.read_net(settings.net)
    return schema.parse_text(render(list(map(str, net_words(settings)))), caffe_pb.NetParameter)


def _solver(settings: Settings) -> caffe_pb.SolverParameter:
    if settings.is_file:
        return schema.read_solver(settings.solver)
    words = ["solver", settings.net, "--max-iter", str(settings.iterations[0])]
    if settings.base_lr:
        words += ["--base-lr", str(settings.base_lr)]
    if settings.lr_policy:
        words += ["--lr-policy", settings.lr_policy]
    return schema.parse_text(render(words), caffe_pb.SolverParameter)


def _sources(net: caffe_pb.NetParameter, phase: int) -> Iterator[caffe_pb.LayerParameter]:
    """The layers that read data in a phase."""
    return (layer for layer in graph.in_phase(net, phase).layer if not layer.bottom)


def _batch(net: caffe_pb.NetParameter, phase: int) -> int:
    """The batch of the first layer that reads data; 0 where it does not tell."""
    for layer in _sources(net, phase):
        for field, param in layer.ListFields():
            if field.name.endswith("_param") and hasattr(param, "batch_size"):
                return param.batch_size
    return 0


def _records(settings: Settings, net: caffe_pb.NetParameter, phase: int) -> int:
    """The records of the LMDB that is read in a phase; 0 where no LMDB is."""
    for layer in _sources(net, phase):
        if layer.type != "Data" or layer.data_param.backend != layer.data_param.LMDB:
            continue
        folder = layer.data_param.source
        try:
            return LMDBFolder(folder).length
        except (LMDBError, OSError) as error:
            why = str(error).removeprefix(f"{folder}: ")
            why = error.strerror if isinstance(error, OSError) else why
            made, at = DATA_SETS.get(settings.net, "cifar10"), os.path.dirname(folder)
            hint = "" if settings.is_file else f"; `python -m data_prep {made} --out {at}` makes it"
            raise CaffeError(f"{folder}: {why}{hint}") from None
    return 0
