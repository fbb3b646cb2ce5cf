"""A net: built from its NetParameter, then run as one loop over its layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from netgen import graph, schema
from netgen.graph import shape_string
from netgen.schema import caffe_pb
from runner.layers import LAYER_TYPES, Context
from runner.layers.blob import Blob, BlobVec
from runner.log import glog
from runner.net.fusion import Convolutions, Together, fused_scales
from runner.net.objective import Objective
from runner.net.overwriting import overwriting
from runner.net.parameters import Parameters
from runner.net.shared_memory import Memory
from runner.net.wiring import Node, force_backward, wire_backward, wire_forward
from runner.process.precision import autocast, widened

_APART = Convolutions(())


class Net:
    """A runnable net.

    param: NetParameter in current format, its `state` saying phase, level and stages.
    nodes: the layers in order. parameters: all learnable blobs, in one flat buffer.
    outputs: names of the blobs nobody consumes, sorted. fused: False has every layer run by
    itself. blobs: a Blob for each name, in the order they are made; only a net run layer by
    layer (Layerwise) and layers that work on blobs fill them. Raises NetError in Caffe's words.
    """

    def __init__(self, param: caffe_pb.NetParameter, context: Context | None = None) -> None:
        self.context = context or Context()
        self.phase = param.state.phase
        filtered = graph.filter_net(param, param.state, log=glog.info)
        glog.info(f"Initializing net from parameters: \n{schema.to_text(filtered)}", "net.cpp:53")
        split = graph.insert_splits(filtered)
        self.name = split.name
        self.nodes = []
        self.blobs = {}
        self.parameters = Parameters()
        self._build(split)
        self.loss_weights = {
            top: weight
            for node in self.nodes
            for top, weight in zip(node.tops, node.loss_weights, strict=True)
        }
        glog.info("Network initialization done.", "net.cpp:257")

    # --- building ---

    def _build(self, param):
        shapes, available, needs = {}, set(), set()
        memory = 0
        for layer_param in param.layer:
            if not layer_param.HasField("phase"):
                layer_param.phase = self.phase
            node = self._create(layer_param, param)
            self._connect(node, shapes, available)
            node.bottom_shapes = [shapes[name] for name in node.bottoms]
            for name in node.tops:
                if name not in self.blobs:
                    self.blobs[name] = Blob(device=self.context.device)
            node.layer.attach(
                [self.blobs[name] for name in node.bottoms],
                [self.blobs[name] for name in node.tops],
            )
            node.shapes = node.layer.setup(node.bottom_shapes)
            while len(node.tops) < len(node.shapes.tops):  # a loss nobody named
                node.tops.append(f"(automatic) {node.name} {len(node.tops)}")
                self.blobs[node.tops[-1]] = Blob(device=self.context.device)
                glog.info(f"{node.name} -> (automatic)", "net.cpp:382")
            if node.layer.holds_a_layer():
                glog.info(f"Creating layer {node.name}", "layer_factory.hpp:77")
            glog.info(f"Setting up {node.name}", "net.cpp:124")
            node.loss_weights = node.layer.loss_weights(len(node.tops))
            for top, shape, weight in zip(
                node.tops, node.shapes.tops, node.loss_weights, strict=True
            ):
                shapes[top] = tuple(shape)
                self.blobs[top].set_shape(shapes[top])
                glog.info(f"Top shape: {shape_string(shape)}", "net.cpp:131")
                if weight:
                    value = torch.full((), weight, device=self.context.device)
                    self.blobs[top].put_diff(value.expand(shapes[top]))
                    glog.info(f"    with loss weight {glog.number(weight)}", "net.cpp:134")
                memory += torch.Size(shape).numel()
            glog.info(f"Memory required for data: {memory * 4}", "net.cpp:139")
            self._add_blobs(node, needs)
            self.nodes.append(node)
        wire_backward(self.nodes)
        for node in reversed(self.nodes):
            verb, line = ("needs", 200) if node.needs_backward else ("does not need", 202)
            glog.info(f"{node.name} {verb} backward computation.", f"net.cpp:{line}")
        if param.force_backward:
            force_backward(self.nodes)
        for node in self.nodes:
            self._check_gradients(node)
        self.objective, self._memory = Objective(self.nodes), Memory(self.nodes)
        self.outputs = sorted(available)
        for name in self.outputs:
            glog.info(f"This network produces output {name}", "net.cpp:244")
        self.blob_shapes = shapes
        self._scales, self.fused = fused_scales(self.nodes, self.outputs), True
        self.scales_in_place = {  # whose fused BatchNorm leaves nothing that one could look at
            index for index in self._scales if graph.in_place(self.nodes[index].param)
        }
        self._convolutions = Convolutions(self.nodes)
        self._siblings = Convolutions(self.nodes, with_ends=False)
        self._overwriting = self._may_overwrite()
        self._fill()

    def _create(self, param, net):
        graph.check_type(param, net, LAYER_TYPES)
        glog.info(f"Creating layer {param.name}", "layer_factory.hpp:77")
        node = Node(LAYER_TYPES[param.type](param, self.context), param)
        glog.info(f"Creating Layer {param.name}", "net.cpp:86")
        return node

    def _connect(self, node, shapes, available):
        for name in node.param.bottom:
            glog.info(f"{node.name} <- {name}", "net.cpp:408")
            available.discard(name)
            node.bottoms.append(name)
        for i, name in enumerate(node.param.top):
            graph.check_source(node.param, i, shapes.keys() | set(node.tops))
            if graph.in_place(node.param, i):
                glog.info(f"{node.name} -> {name} (in-place)", "net.cpp:369")
            else:
                glog.info(f"{node.name} -> {name}", "net.cpp:382")
            node.tops.append(name)
            available.add(name)

    def _add_blobs(self, node, needs):
        count = len(node.shapes.params)
        given = list(node.param.param)
        wire_forward(node, (given + [None] * count)[:count], needs)
        specs = (node.layer.specs() + [None] * count)[:count]
        for i, (shape, spec) in enumerate(zip(node.shapes.params, specs, strict=True)):
            position = self.parameters.add(node.name, i, shape, spec, glog.info)
            node.learnable.append(position)
            node.blob_needs.append(_propagates(spec))

    def _check_gradients(self, node):
        if self.phase != caffe_pb.TRAIN or not node.needs_backward:
            return  # a net that is only tested may well have losses behind, say, an ArgMax
        for i in node.layer.refuses_backward_to:
            if i < len(node.bottoms) and node.bottom_needs[i]:
                raise graph.NetError(
                    f"layer '{node.name}': {node.param.type} Layer cannot backpropagate to "
                    f"bottom {i} ('{node.bottoms[i]}')"
                )

    def _fill(self):
        """Allocate the learnable blobs and draw their starting values."""
        self.parameters.allocate(self.context.device)
        for node in self.nodes:
            owners = [self.parameters.learnable[position] for position in node.learnable]
            fillers = node.layer.fillers()
            for i, (owner, position) in enumerate(zip(owners, node.learnable, strict=True)):
                leaf = self.parameters.blobs[position]
                node.leaves.append(leaf)
                node.blobs.append(leaf.data.view(tuple(node.shapes.params[i])))
                if i < len(fillers) and (owner.layer, owner.index) == (node.name, i):
                    value = torch.zeros(owner.shape)
                    node.layer.fill(value, fillers[i], self.context.fillers)
                    with torch.no_grad():
                        leaf.copy_(value)
            gradients = [self.parameters.blobs[position].grad for position in node.learnable]
            node.layer.take_parameters(node, gradients)
        self._fresh_each_time = [
            node.leaves[index] for node in self.nodes for index in node.layer.rewrites
        ]

    def parameter_blobs(self, node: Node) -> BlobVec:
        """The Blobs of a node's parameters, a BlobVec: the same each time."""
        if node.parameter_blobs is None:
            node.parameter_blobs = getattr(node.layer, "parameter_blobs", None)
        if node.parameter_blobs is None:
            node.parameter_blobs = BlobVec()
            for i, position in enumerate(node.learnable):
                blob = Blob()
                blob.become_parameter(node, i, self.parameters.blobs[position].grad)
                node.parameter_blobs.append(blob)
            node.parameter_blobs.node = node
        return node.parameter_blobs

    # --- running ---

    def by_name(self) -> dict[str, Any]:
        """{name: layer as wired}; of several of one name the first, as where Caffe looks."""
        return {node.name: node for node in reversed(self.nodes)}

    def share_weights_from(self, source: Net) -> None:
        """Use `source`'s blobs wherever a layer has the same name (ShareTrainedLayersWith)."""
        mine = self.by_name()
        for node in source.nodes:
            if node.name not in mine:
                glog.info(f"Ignoring source layer {node.name}", "net.cpp:678")
                continue
            target = mine[node.name]
            if len(target.blobs) != len(node.blobs):
                raise graph.NetError(f"Incompatible number of blobs for layer {node.name}")
            for i, (ours, theirs) in enumerate(zip(target.blobs, node.blobs, strict=True)):
                if ours.shape != theirs.shape:
                    raise graph.NetError(
                        f"Cannot share param {i} weights from layer '{node.name}'; shape "
                        f"mismatch.  Source param shape is {shape_string(theirs.shape)}; "
                        f"target param shape is {shape_string(ours.shape)}"
                    )
            target.blobs, target.leaves = node.blobs, node.leaves

    def refresh_left(self, name: str, give: Callable[[], torch.Tensor]) -> None:
        """Have layers that look up blob `name` when they go backward find what `give` gives."""
        self._memory.refresh(name, give)

    def fetch(self) -> list[list[torch.Tensor]]:
        """Let the layers that read go on to their next batch; a list of tensors for each."""
        return [node.layer.fetch() for node in self.nodes if node.layer.reads]

    def forward(
        self,
        *fetched: list[torch.Tensor],
        kept: dict[str, torch.Tensor] | None = None,
        diffs: dict[str, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Run every layer; returns (objective, {output name: tensor}).

        fetched: what `fetch` gave; without it layers fetch as they run. kept: a dict that takes
        every blob of the net by name as it is at the end. diffs: a dict that takes, when
        gradients are computed, those of the blobs as they are made. The objective is a
        scalar tensor on the net's device, part of an autograd graph where something learns and
        gradients are on. Nothing is read back to the host. Raises NetError for a net without
        layers.
        """
        if not self.nodes:
            raise graph.NetError(f"net '{self.name}' has no layers to run")
        blobs, shares, fetched = {} if kept is None else kept, [], iter(fetched)
        scales = self._scales if kept is None else self.scales_in_place
        overwriting = self._overwriting if kept is None and diffs is None else {}
        if not self.fused:
            scales, overwriting = set(), {}
        plan = self._plan(kept, diffs)
        together = Together(plan, self.run)
        for index, node in enumerate(self.nodes):
            if index in plan.inner:
                continue
            if index in plan.ends:
                tops = [together.end(index)]
            else:
                bottoms = self._bottoms(node, blobs)
                if any(
                    x.shape != shape for x, shape in zip(bottoms, node.bottom_shapes, strict=True)
                ):
                    self._reshape(node, bottoms)
                together.begin(index, bottoms)
                if index in plan.leaves:
                    continue
                batch = next(fetched, None) if node.layer.reads else None
                arguments = node.arguments()
                if index in scales:  # the BatchNorm before has done it
                    tops = [blobs[node.bottoms[0]]]
                elif index in overwriting:
                    tops = overwriting[index](bottoms)
                elif index in together.tops:
                    tops = [together.tops.pop(index)]
                else:
                    if index + 1 in scales:
                        arguments += self.nodes[index + 1].arguments()
                    tops = self.run(node, bottoms, arguments, batch)
            blobs.update(zip(node.tops, tops, strict=True))
            if diffs is not None:
                for name, top in zip(node.tops, tops, strict=True):
                    if top.requires_grad and name not in node.bottoms:
                        top.register_hook(functools.partial(diffs.__setitem__, name))
            shares += self.objective.shares(index, tops)
        self._memory.keep(blobs)
        loss = sum(shares) if shares else torch.zeros((), device=self.context.device)
        return loss, {name: widened(blobs[name].detach()) for name in self.outputs}

    def run(
        self,
        node: Node,
        bottoms: list[torch.Tensor],
        arguments: list[torch.Tensor],
        batch: list[torch.Tensor] | None = None,
    ) -> list[torch.Tensor]:
        """The tops of one layer, at the net's precision; batch: what it fetched before."""
        if batch is not None:
            return node.layer.finish(batch)
        if not node.layer.takes_bfloat16:
            bottoms = [widened(x) for x in bottoms]
        with autocast(self.context.precision, self.context.device):
            return node.layer.forward(bottoms, arguments)

    def _may_overwrite(self):
        """The layers that may write over their bottoms: on a CPU, where it has been measured."""
        if self.context.device.type != "cpu" or self.context.precision != "fp32":
            return {}
        plan = self._convolutions
        shares = [share for group in plan.groups.values() for share in group]
        numbers = {*(share.number for share in shares), *plan.leaves, *plan.inner, *plan.ends}
        return overwriting(self.nodes, self.outputs, self._scales, numbers, self._memory.names)

    def _plan(self, kept, diffs):
        """The Convolutions that are done together in a pass."""
        if not self.fused or diffs is not None:  # each reader of a blob has a gradient to show
            return _APART
        return self._convolutions if kept is None else self._siblings

    @staticmethod
    def _reshape(node, bottoms):
        """Check bottoms of other shapes than at set-up: from a Filter, or records of all sizes."""
        shapes = node.layer.shapes_of(*bottoms)
        if shapes.params != node.shapes.params:
            now = ", ".join(shape_string(x.shape) for x in bottoms)
            before = ", ".join(map(shape_string, node.bottom_shapes))
            raise graph.NetError(
                f"layer '{node.name}': its parameters are made for bottom shape {before}; a batch "
                f"came with {now}"
            )

    @staticmethod
    def _bottoms(node, blobs):
        """The node's bottoms, cut from the graph where no gradient is to go back."""
        return [
            blobs[name] if node.needs_backward and needs else blobs[name].detach()
            for name, needs in zip(node.bottoms, node.bottom_needs, strict=True)
        ]

    def forward_backward(
        self,
        *fetched: list[torch.Tensor],
        kept: dict[str, torch.Tensor] | None = None,
        diffs: dict[str, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Forward, then add the gradients to the flat buffer; returns forward's result."""
        loss, outputs = self.forward(*fetched, kept=kept, diffs=diffs)
        if loss.requires_grad:
            for leaf in self._fresh_each_time:
                leaf.grad.zero_()
            loss.backward()
        return loss.detach(), outputs

    def replayable(self) -> bool:
        """Is a pass, but for fetching, work for the device alone, the same each time?"""
        return all(node.layer.replayable for node in self.nodes) and not self.objective.remembers

    # --- what resuming needs ---

    def state(self) -> dict[str, dict[str, Any]]:
        """Cursors and random states of the layers that have any, by layer name."""
        states = {node.name: node.layer.state() for node in self.nodes}
        return {name: state for name, state in states.items() if state is not None}

    def load_state(self, states: dict[str, dict[str, Any]]) -> None:
        """Take back what `state` gave; layers that are not there any more are passed over."""
        for node in self.nodes:
            if node.name in states:
                node.layer.load_state(states[node.name])


def _propagates(spec: caffe_pb.ParamSpec | None) -> bool:
    """Whether backward reaches a blob: as lr_mult says, unless param_propagate_down does."""
    if spec is None:
        return True
    given = spec.HasField("param_propagate_down")
    return spec.param_propagate_down if given else spec.lr_mult != 0


def net_param_for(
    param: caffe_pb.NetParameter, phase: int, level: int = 0, stages: Sequence[str] = ()
) -> caffe_pb.NetParameter:
    """A NetParameter with the state that pycaffe's and the command line's Net asks for."""
    asked = caffe_pb.NetState(phase=phase, level=level, stage=stages)
    param.state.CopyFrom(graph.merged_state(param.state, asked))
    return param
