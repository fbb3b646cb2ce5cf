"""A net as a torch.nn.Module, which torch.export can trace.

It runs the `forward` of the engine's layers in the net's order; what it leaves out is what only
training and the log need.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from netgen import graph
from netgen.errors import CaffeError
from runner.exporting.operators import AVAILABLE, OPERATORS
from runner.layers import LAYER_TYPES, Layer
from runner.net.fusion import fused_scales
from runner.net.net import Net
from runner.net.safetensors import blob_names
from runner.net.wiring import Node


class NetModule(torch.nn.Module):
    """A net from the values of its Input layers' tops to those of its outputs.

    net: of phase TEST, on a CPU. Its parameters are shared, its layers are made anew: what
    tracing leaves in them is in no layer of `net`. inputs, outputs: the blobs' names. names:
    {the state_dict's name of a parameter: LAYER.BLOB}; one that layers share is one, and has the
    first layer's. forward raises CaffeError, which names the layer that cannot compute.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.inputs = [top for node in net.nodes if _is_input(node) for top in node.tops]
        self.outputs = list(net.outputs)
        self.names: dict[str, str] = {}
        self._nodes = [node for node in net.nodes if not _is_input(node)]
        self._layers = torch.nn.ModuleList(_LayerModule(node, net) for node in self._nodes)
        self._scales = fused_scales(self._nodes, self.outputs)
        self._blobs = torch.nn.ParameterDict()
        for node in self._nodes:
            names = blob_names(node.param, len(node.blobs))
            for number, name in zip(node.learnable, names, strict=True):
                if str(number) not in self._blobs:
                    value = net.parameters.blobs[number].detach()
                    self._blobs[str(number)] = torch.nn.Parameter(value, requires_grad=False)
                    self.names[f"_blobs.{number}"] = f"{node.name}.{name}"

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        blobs = dict(zip(self.inputs, values, strict=True))
        for index, node in enumerate(self._nodes):
            bottoms = [blobs[name] for name in node.bottoms]
            if index in self._scales:  # the BatchNorm before has done it
                tops = bottoms
            else:
                arguments = self._arguments(index)
                if index + 1 in self._scales:
                    arguments += self._arguments(index + 1)
                free = _free_axes(values)
                tops = self._layers[index](bottoms, arguments)
                if _free_axes(values) < free:
                    raise CaffeError(
                        f"layer '{node.name}' ({node.param.type}) wants one size of the first axis"
                    )
            blobs.update(zip(node.tops, tops, strict=True))
        return tuple(blobs[name] for name in self.outputs)

    def _arguments(self, index: int) -> list[torch.Tensor]:
        node = self._nodes[index]
        shared = [self._blobs[str(number)] for number in node.learnable]
        return [
            value if value.shape == blob.shape else value.view(blob.shape)
            for value, blob in zip(shared, node.blobs, strict=True)
        ]

    def layer_of(self, scopes: Sequence[str]) -> str | None:
        """The name of the layer that a traced operation is of; scopes: its modules' names."""
        for scope in scopes:
            if scope.startswith("_layers.") and scope.count(".") == 1:
                return self._nodes[int(scope.removeprefix("_layers."))].name
        return None


class _LayerModule(torch.nn.Module):
    """A layer as a module, so that what is traced says which layer it is of."""

    def __init__(self, node: Node, net: Net) -> None:
        super().__init__()
        self._param = node.param
        self._layer = _made_anew(node, net)

    def forward(
        self, bottoms: list[torch.Tensor], arguments: list[torch.Tensor]
    ) -> Sequence[torch.Tensor]:
        operator = OPERATORS.get(self._param.type) if AVAILABLE else None
        try:
            if operator and (top := operator(self._layer, bottoms)) is not None:
                return [top]
            return self._layer.forward(bottoms, arguments)
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            if isinstance(error, graph.NetError):
                raise
            raise CaffeError(f"layer '{self._param.name}' ({self._param.type}): {why}") from error


def refuse_untraceable(net: Net) -> None:
    """Raise CaffeError, which names them, where a net has layers that cannot be traced."""
    reasons = [
        f"'{node.name}' ({node.param.type}: {node.layer.untraceable or 'it is for training'})"
        for node in net.nodes
        if node.layer.untraceable or node.layer.is_loss
    ]
    if reasons:
        raise CaffeError(
            f"net '{net.name}' cannot be exported with {', '.join(reasons)}: leave such layers "
            "out, and what they read are its outputs"
        )


def _free_axes(values: Sequence[torch.Tensor]) -> int:
    """How many inputs have a first axis that is of any size, as far as has been traced."""
    return sum(bool(x.dim()) and not str(x.shape[0]).isdigit() for x in values)


def _is_input(node: Node) -> bool:
    return node.param.type == "Input"


def _made_anew(node: Node, net: Net) -> Layer:
    layer = LAYER_TYPES[node.param.type](node.param, net.context)
    layer.attach(
        [net.blobs[name] for name in node.bottoms], [net.blobs[name] for name in node.tops]
    )
    layer.setup(node.bottom_shapes)
    return layer
