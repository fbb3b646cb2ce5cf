"""A net run one layer at a time over its blobs, as Caffe runs it.

Every layer reads what lies in its blobs when it runs, forward and backward: what somebody has
written there counts. A layer overwrites its bottoms' diffs and adds to its parameters'. What
Caffe's layers keep for themselves from their last forward (a dropout mask, the places of the
maxima, probabilities, normalised values) is kept here in the autograd graph of that forward.

The file is long because the net's run and the few kinds of layers on blobs share one account of
whose memory is whose.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch

from netgen import graph
from netgen.graph import shape_string
from runner.layers.blob import Blob, SyncedMemory
from runner.layers.in_place import Rereading
from runner.layers.linear import Convolution

#: Types whose backward reads what their own forward has kept: how many of their bottoms it has
#: made that of. The others, labels, are read anew.
KEPT_BOTTOMS = {
    "BatchNorm": 1,
    "ContrastiveLoss": 2,
    "Dropout": 1,
    "EuclideanLoss": 2,
    "Filter": sys.maxsize,
    "HingeLoss": 1,
    "InfogainLoss": 1,
    "LSTM": sys.maxsize,
    "MultiBoxLoss": sys.maxsize,
    "Pooling": 1,
    "RNN": sys.maxsize,
    "SPP": 1,
    "SigmoidCrossEntropyLoss": 1,
    "SoftmaxWithLoss": 1,
}
#: and those where it is so in place, since the bottom itself is overwritten
KEPT_BOTTOMS_IN_PLACE = {"Eltwise": sys.maxsize, "PReLU": 1, "Scale": 1}


class Layerwise:
    """Forward and backward of single layers of `net`, a runner.net.Net, over `net.blobs`.

    before_forward, after_forward, before_backward, after_backward: functions that are called
    with the number of each layer that a range runs.
    """

    def __init__(self, net: Any) -> None:
        self.net = net
        #: are graphs worth keeping, because a backward follows the forwards?
        self.goes_backward = False
        #: what is to be done before diffs are looked at
        self.due: Callable[[], None] | None = None
        self.layers = [_kind_of(node)(self, node, i) for i, node in enumerate(net.nodes)]
        self.has_python = any(node.param.type == "Python" for node in net.nodes)
        self.before_forward: list[Callable[[int], Any]] = []
        self.after_forward: list[Callable[[int], Any]] = []
        self.before_backward: list[Callable[[int], Any]] = []
        self.after_backward: list[Callable[[int], Any]] = []
        self._weights = {
            name: (net.blobs[name], net.blobs[name].diff_memory.version)
            for name, weight in net.loss_weights.items()
            if weight
        }

    # --- what is run ---

    def begin(self) -> None:
        """Told before the parameters are used: what was written to them is to reach the device."""
        for memory in self._parameter_memories():
            memory.flush()

    def reshape(self) -> None:
        """Let shapes follow the bottoms', layer by layer."""
        for layer in self.layers:
            layer.reshape()

    def forward(self) -> float:
        """Every layer in order; returns the objective."""
        return sum(self.forward_layer(i) for i in range(len(self.layers)))

    def forward_layer(self, index: int) -> float:
        """Run layer `index`; returns what its tops add to the objective."""
        self.run_layer(index)
        return self.layers[index].objective()

    def run_layer(self, index: int) -> None:
        """Run layer `index` on the blobs as they are."""
        with torch.no_grad():
            self.layers[index].reshape()
            self.layers[index].forward()

    def forward_range(self, first: int, last: int, fetched: Iterable | None = None) -> None:
        """Run layers `first` to `last`. fetched: as for Net.forward."""
        batches = iter(fetched or ())
        before, after, index = self.before_forward, self.after_forward, first
        with torch.no_grad():
            while index <= last:
                layer = self.layers[index]
                fuses = layer.fuses_with_next and index < last and not (before or after)
                if fuses and layer.forward_with(self.layers[index + 1]):
                    index += 2
                    continue
                for call in before:
                    call(index)
                if layer.layer.reads:
                    layer.batch = next(batches, None)
                layer.reshape()
                layer.forward()
                for call in after:
                    call(index)
                index += 1

    def objective(self, first: int, last: int) -> float:
        """What the tops of layers `first` to `last` add to the objective."""
        return sum(layer.objective() for layer in self.layers[first : last + 1])

    def backward(self) -> None:
        """Every layer that takes part, in reverse order."""
        for index in reversed(range(len(self.layers))):
            self.backward_layer(index)

    def backward_layer(self, index: int) -> None:
        """From the tops' diffs of layer `index` to its bottoms' and its parameters'."""
        self.goes_backward = True
        if self.net.nodes[index].needs_backward:
            self.layers[index].backward()

    def backward_range(self, first: int, last: int) -> None:
        """Go back from layer `first` down to `last`."""
        self._settle_diffs()
        for index in range(first, last - 1, -1):
            for call in self.before_backward:
                call(index)
            self.backward_layer(index)
            for call in self.after_backward:
                call(index)

    def _settle_diffs(self) -> None:
        """Do what is due before diffs are written."""
        if self.due is not None:
            due, self.due = self.due, None
            due()

    def clear_parameter_diffs(self) -> None:
        """Set the parameters' diffs to zero."""
        self.begin()
        self.net.parameters.grad.zero_()

    # --- between passes of the whole net ---

    def take(self, kept: dict[str, torch.Tensor]) -> None:
        """Have the blobs hold what a pass of the whole net left."""
        for layer in self.layers:
            layer.take(kept)

    def take_diffs(self, diffs: dict[str, torch.Tensor]) -> None:
        """Have the blobs' diffs hold the gradients of a pass of the whole net."""
        for name, diff in diffs.items():
            if name not in self._weights:
                self.net.blobs[name].put_diff(diff, owned=False)

    def diffs_are_gradients(self) -> bool:
        """Is what Caffe leaves in the diffs what autograd computes of a pass of the whole net?

        Not where diffs share memory, nor for blobs that nothing below computes.
        """
        fixed: set[str] = set()
        for node in self.net.nodes:
            if node.param.type in _KINDS and node.param.type != "Split":
                return False
            if any(
                needs and name in fixed
                for name, needs in zip(node.bottoms, _written_diffs(node), strict=True)
            ):
                return False
            if not node.needs_backward or not node.bottoms:
                fixed.update(node.tops)
        return True

    def repeat(self, kept: dict[str, torch.Tensor]) -> None:
        """Make the diffs of the pass that left `kept`; what lies in the blobs' data stays."""
        places = [(blob, blob.begin_elsewhere()) for blob in self.net.blobs.values()]
        private = [dict(vars(layer)) for layer in self.layers]
        try:
            for index, layer in enumerate(self.layers):
                if layer.bottoms:
                    self.run_layer(index)
                else:
                    layer.start_from(kept)
            self.backward()
        finally:
            for blob, place in places:
                blob.end_elsewhere(place)
            for layer, before in zip(self.layers, private, strict=True):
                vars(layer).update(before)

    def watch_diffs(self, ask: Callable[[], None]) -> None:
        """Have `ask` called before anybody reads or writes a blob's diff, but for loss weights."""
        for name, blob in self.net.blobs.items():
            if name not in self._weights:
                blob.watch_diff(ask)

    def has_callbacks(self) -> bool:
        """Does anybody want to be called?"""
        return bool(
            self.before_forward or self.after_forward or self.before_backward or self.after_backward
        )

    def diffs_watched(self) -> bool:
        """Does anybody hold a view of a blob's diff?"""
        return any(
            blob.diff_memory.watched
            for name, blob in self.net.blobs.items()
            if name not in self._weights
        )

    def weights_changed(self) -> bool:
        """Do other loss weights lie in the diffs than at set-up?"""
        for name, (blob, version) in self._weights.items():
            memory = blob.diff_memory
            if (memory.version != version or memory.watched) and bool(
                (blob.diff_tensor() != self.net.loss_weights[name]).any()
            ):
                return True
        return False

    def _parameter_memories(self) -> list:
        """Those that a host copy belongs to; on a CPU there are none."""
        if not SyncedMemory.mirrors(self.net.context.device):
            return []
        blobs = [blob for node in self.net.nodes for blob in self.net.parameter_blobs(node)]
        return [memory for blob in blobs for memory in (blob.data_memory, blob.diff_memory)]


class _OnBlobs:
    """One layer at work on its blobs; for most types autograd of their forward is Caffe's."""

    def __init__(self, run: Layerwise, node: Any, index: int) -> None:
        self.run, self.node, self.layer = run, node, node.layer
        self.bottoms: list[Blob] = [run.net.blobs[name] for name in node.bottoms]
        self.tops: list[Blob] = [run.net.blobs[name] for name in node.tops]
        self.in_place = bool(node.tops) and graph.in_place(node.param)
        self.keeps = KEPT_BOTTOMS.get(node.param.type, 0)
        if self.in_place:
            self.keeps = self.keeps or KEPT_BOTTOMS_IN_PLACE.get(node.param.type, 0)
        self._writes = _written_diffs(node)
        self._seen: list[tuple[int, ...]] = node.bottom_shapes
        self._top_shapes: list[tuple[int, ...]] = node.shapes.tops
        self._rewritten = {node.learnable[index] for index in node.layer.rewrites}
        #: is it a BatchNorm whose Scale, in place, can be done in the same operation?
        self.fuses_with_next = index + 1 in run.net.scales_in_place
        # The layer's own forward, where nothing is to be converted for it or by it.
        self._compute = node.layer.forward
        if run.net.context.precision != "fp32":
            self._compute = functools.partial(run.net.run, node)
        self._graph: tuple | None = None  # (inputs, leaves, tops, versions of the bottoms)

    # --- shapes ---

    def reshape(self) -> None:
        """Give the tops the shapes that follow from the bottoms'. Raises NetError."""
        if not self.bottoms:
            return
        shapes = [blob.shape for blob in self.bottoms]
        if shapes != self._seen:
            self._top_shapes = self._shapes_for(shapes)
            self._seen = shapes
        for blob, shape in zip(self.tops, self._top_shapes, strict=True):
            if blob.shape != shape:
                blob.set_shape(shape)

    def _shapes_for(self, shapes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
        _refuse_misfits(self.node, shapes)
        found = self.layer.shapes_for(shapes)
        if found.params != self.node.shapes.params:
            now = ", ".join(map(shape_string, shapes))
            before = ", ".join(map(shape_string, self.node.bottom_shapes))
            raise graph.NetError(
                f"layer '{self.node.name}': its parameters are made for bottom shape {before}; "
                f"its bottom has {now} now"
            )
        return [tuple(shape) for shape in found.tops]

    # --- forward ---

    def take(self, kept: dict[str, torch.Tensor]) -> None:
        """Have the tops hold what a pass of the whole net left in them."""
        self._graph = None
        for name, blob in zip(self.node.tops, self.tops, strict=True):
            blob.put(kept[name], owned=False)

    def start_from(self, kept: dict[str, torch.Tensor]) -> None:
        """Have the tops, of a layer that brings data in, hold what a pass began with."""
        for name, blob in zip(self.node.tops, self.tops, strict=True):
            blob.put(kept[name], owned=False)

    def forward(self) -> None:
        """From the bottoms' data to the tops'."""
        if self.node.needs_backward and (self.keeps or self.run.goes_backward):
            self._graph = self._traced()
            inputs, _, tops, _ = self._graph
        else:
            self._graph = None
            inputs = [blob.tensor() for blob in self.bottoms]
            tops = self._compute(inputs, self.node.blobs)
        for blob, top in zip(self.tops, tops, strict=True):
            self._put(blob, top, inputs)

    def forward_with(self, scale: _OnBlobs) -> bool:
        """Do the Scale behind this BatchNorm, in place, as well; False where graphs are kept."""
        if self.node.needs_backward or scale.node.needs_backward:
            return False
        self.reshape()
        inputs = [self.bottoms[0].tensor()]
        (top,) = self._compute(inputs, [*self.node.blobs, *scale.node.blobs])
        self._put(self.tops[0], top, inputs)
        return True

    def _put(self, blob: Blob, top: torch.Tensor, inputs: list[torch.Tensor]) -> None:
        """Have the top hold a result, in memory of its own even if the result is a bottom's."""
        may_share = top._is_view() or any(top is x for x in inputs)
        if may_share and any(other.data_memory.shares_storage(top) for other in self.bottoms):
            if blob in self.bottoms and top.data_ptr() == blob.tensor().data_ptr():
                return  # in place, and nothing to do: Dropout in a test
            top = top.clone()
        blob.put(top)

    def _traced(self, kept: list[torch.Tensor] | None = None) -> tuple:
        """The layer's forward in an autograd graph.

        kept: what an earlier one has read of the bottoms that the layer keeps.
        """
        inputs = list(kept or [])
        for i, blob in enumerate(self.bottoms[len(inputs) :], len(inputs)):
            # What is kept stays as it is, whoever writes to the blob later. And .data has a
            # version counter of its own: autograd is not to mind later writes.
            private = i < self.keeps
            value = blob.data_memory.kept(blob.shape) if private else blob.tensor()
            needs = self._writes[i] and value.is_floating_point()
            inputs.append(value.data.requires_grad_(needs))
        leaves = [
            leaf
            for leaf, needs in zip(self.node.leaves, self.node.blob_needs, strict=True)
            if needs
        ]
        with torch.enable_grad():
            tops = self._compute(inputs, self.node.arguments())
        versions = [blob.data_memory.version for blob in self.bottoms]
        return inputs, leaves, tops, versions

    def objective(self) -> float:
        """The dot product of data and diff of the tops with a loss weight."""
        total = 0.0
        for blob, weight in zip(self.tops, self.node.loss_weights, strict=True):
            if weight:
                total += (blob.tensor() * blob.diff_tensor().view(blob.shape)).sum().item()
        return total

    # --- backward ---

    def _current(self) -> tuple:
        """A graph of what backward is to read: what the layer has kept, else what is there now."""
        if self._graph is None:
            return self._traced()
        inputs, _, _, versions = self._graph
        for blob, version in list(zip(self.bottoms, versions, strict=True))[self.keeps :]:
            if blob.data_memory.version != version or blob.data_memory.watched:
                return self._traced(inputs[: self.keeps])
        return self._graph

    def backward(self) -> None:
        """From the tops' diffs to the bottoms', which are overwritten, and the parameters'."""
        self._graph = self._current()
        inputs, leaves, tops, _ = self._graph
        pairs = [
            (top, blob.diff_tensor().reshape(top.shape))
            for top, blob in zip(tops, self.tops, strict=True)
            if top.requires_grad
        ]
        wanted = [x for x in [*inputs, *leaves] if x.requires_grad]
        found: dict[int, torch.Tensor | None] = {}
        if pairs and wanted:
            self._before_backward()
            gradients = torch.autograd.grad(
                [top for top, _ in pairs],
                wanted,
                [diff for _, diff in pairs],
                allow_unused=True,
                retain_graph=self.keeps > 0,
            )
            found = dict(zip(map(id, wanted), gradients, strict=True))
        if not self.keeps:
            self._graph = None  # used up
        self._put_diffs([found.get(id(x)) for x in inputs], anything=bool(pairs))
        owners = [
            position
            for position, needs in zip(self.node.learnable, self.node.blob_needs, strict=True)
            if needs
        ]
        for position, leaf in zip(owners, leaves, strict=True):
            gradient = found.get(id(leaf))
            if gradient is not None:
                total = self.run.net.parameters.blobs[position].grad
                if position in self._rewritten:
                    total.zero_()
                total.add_(gradient.view(total.shape))

    def _before_backward(self) -> None:
        """Let what the layer looks up while it goes backward be what lies in its top."""
        if self.node.tops:
            self.run.net.refresh_left(self.node.tops[0], self.tops[0].tensor)

    def _put_diffs(self, gradients: list[torch.Tensor | None], anything: bool) -> None:
        """Overwrite the bottoms' diffs; one without a gradient becomes zero or, if others have
        one, stays as it was."""
        taken = [blob.diff_memory for blob in self.tops]
        for i, (blob, gradient) in enumerate(zip(self.bottoms, gradients, strict=True)):
            if not self._writes[i]:
                continue
            if gradient is None:
                if not anything and i not in self.layer.refuses_backward_to:
                    blob.put_diff(blob.diff_tensor().new_zeros(blob.shape))
                continue
            if any(memory.shares_storage(gradient) for memory in taken):
                gradient = gradient.clone()
            blob.put_diff(gradient)
            taken.append(blob.diff_memory)


class _Rereads(_OnBlobs):
    """A layer with a formula for its gradient, of what lies in bottom and top."""

    def __init__(self, run: Layerwise, node: Any, index: int) -> None:
        super().__init__(run, node, index)
        own = type(self.layer).value_and_gradient is not Rereading.value_and_gradient
        self._keeps_bottom = own and node.needs_backward  # the formula is made of it
        self._kept: torch.Tensor | None = None

    def forward(self) -> None:
        (bottom,) = self.bottoms
        if self._keeps_bottom:
            self._kept = bottom.data_memory.kept(bottom.shape)
        x = bottom.tensor()
        top = self.layer.apply(x)
        self._put(self.tops[0], top, [x])

    def backward(self) -> None:
        (bottom,), (top,) = self.bottoms, self.tops
        if not self.node.bottom_needs[0]:
            return
        x, y = bottom.tensor(), top.tensor()
        with torch.no_grad():
            kept = x if self._kept is None or self._kept.shape != x.shape else self._kept
            formula = self.layer.value_and_gradient(kept)[1]
            gradient = formula(x, y, top.diff_tensor().reshape(y.shape))
        self._put_diffs([gradient.reshape(x.shape)], anything=True)


class _SharesData(_OnBlobs):
    """Split and Flatten: the tops' data are the bottom's memory."""

    def take(self, kept: dict[str, torch.Tensor]) -> None:
        self.reshape()
        self.forward()

    def forward(self) -> None:
        for top in self.tops:
            top.share_data(self.bottoms[0])


class _Splits(_SharesData):
    def backward(self) -> None:
        if not self.node.bottom_needs[0]:
            return
        total = None
        for top in self.tops:
            diff = top.diff_tensor()
            total = diff.clone() if total is None else total.add_(diff)
        self.bottoms[0].put_diff(total)


class _Flattens(_SharesData):
    """Its bottom's diff becomes the top's memory."""

    def backward(self) -> None:
        if self.node.bottom_needs[0]:
            self.bottoms[0].share_diff(self.tops[0])


class _SharesBoth(_OnBlobs):
    """Data and diff of top and bottom are one memory each: there is nothing to compute."""

    def __init__(self, run: Layerwise, node: Any, index: int) -> None:
        super().__init__(run, node, index)
        self._share()

    def _share(self) -> None:
        self.tops[0].share_data(self.bottoms[0])
        self.tops[0].share_diff(self.bottoms[0])

    def take(self, kept: dict[str, torch.Tensor]) -> None:
        self.reshape()

    def reshape(self) -> None:
        super().reshape()
        self._share()

    def forward(self) -> None:
        pass

    def backward(self) -> None:
        pass


class _IsParameter(_SharesBoth):
    """Parameter: its blob is its top."""

    def start_from(self, kept: dict[str, torch.Tensor]) -> None:
        self._share()

    def _share(self) -> None:
        blob = self.run.net.parameter_blobs(self.node)[0]
        self.tops[0].share_data(blob)
        self.tops[0].share_diff(blob)


class _Recurs(_OnBlobs):
    """LSTM and RNN: the diff they read is their inner net's, lent to the top at each reshape."""

    def __init__(self, run: Layerwise, node: Any, index: int) -> None:
        super().__init__(run, node, index)
        self._inner = [(blob, blob.diff_memory) for blob in self.tops]

    def reshape(self) -> None:
        super().reshape()
        for i, (blob, memory) in enumerate(self._inner):
            if memory.size < blob.count:
                self._inner[i] = blob, blob.diff_memory
            else:
                blob.lend_diff(memory)


class _Reads(_OnBlobs):
    """A layer that brings data in: the tops take the shape of what came."""

    batch: Any = None  # what it has fetched already

    def reshape(self) -> None:
        pass

    def forward(self) -> None:
        tops = self.run.net.run(self.node, [], self.node.blobs, self.batch)
        self.batch = None
        for blob, top in zip(self.tops, tops, strict=True):
            blob.put(top, owned=False)

    def backward(self) -> None:
        pass


class _OwnWork(_OnBlobs):
    """A layer that works on blobs by itself: Input, DummyData, Python."""

    def take(self, kept: dict[str, torch.Tensor]) -> None:
        """It has left it in its tops by itself."""

    def start_from(self, kept: dict[str, torch.Tensor]) -> None:
        self.layer.forward_blobs()  # so that it draws as many random numbers
        super().start_from(kept)

    def reshape(self) -> None:
        self.layer.reshape_blobs()

    def forward(self) -> None:
        self.layer.forward_blobs()

    def backward(self) -> None:
        self.layer.backward_blobs(self.node.bottom_needs)


_KINDS = {
    "Flatten": _Flattens,
    "LSTM": _Recurs,
    "Parameter": _IsParameter,
    "RNN": _Recurs,
    "Reshape": _SharesBoth,
    "Split": _Splits,
}


def _kind_of(node: Any) -> type[_OnBlobs]:
    kind = node.param.type
    if hasattr(node.layer, "forward_blobs"):
        return _OwnWork
    if not node.bottoms and kind not in _KINDS:
        return _Reads
    if (kind == "Concat" and len(node.bottoms) == 1) or (kind == "Slice" and len(node.tops) == 1):
        return _SharesBoth
    if isinstance(node.layer, Rereading) and _formula_holds(node.layer):
        return _Rereads
    return _KINDS.get(kind, _OnBlobs)


def _written_diffs(node: Any) -> list[bool]:
    """Which bottoms' diffs the layer's backward writes."""
    if node.layer.ignores_propagate_down:
        return [node.needs_backward] * len(node.bottoms)
    return node.bottom_needs


def _formula_holds(layer: Any) -> bool:
    """Power of a constant and MVN without the variance have none."""
    return layer.param.type not in ("MVN", "Power") or layer.surprising()


def _refuse_misfits(node: Any, shapes: list[tuple[int, ...]]) -> None:
    """Raise NetError, in Caffe's words, for bottoms that learnt weights do not fit."""
    if node.param.type == "InnerProduct":
        axis = node.layer.shapes_for([shapes[0]]).axis
        before = torch.Size(node.bottom_shapes[0][axis:]).numel()
        now = torch.Size(shapes[0][axis:]).numel()
        if before != now:
            raise graph.NetError(
                f"layer '{node.name}': Check failed: K_ == new_K ({before} vs. {now}) "
                "Input size incompatible with inner product parameters."
            )
    elif isinstance(node.layer, Convolution):
        axes = len(node.bottom_shapes[0])
        for shape in shapes:
            if len(shape) != axes:
                raise graph.NetError(
                    f"layer '{node.name}': bottom num_axes may not change. "
                    f"({len(shape)} vs. {axes})"
                )
            axis = node.shapes.axis
            before = node.bottom_shapes[0][axis]
            if shape[axis] != before:
                raise graph.NetError(
                    f"layer '{node.name}': Check failed: bottom[0]->shape(channel_axis_) == "
                    f"channels_ ({shape[axis]} vs. {before}) "
                    "Input size incompatible with convolution kernel."
                )
