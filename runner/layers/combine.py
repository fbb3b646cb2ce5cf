"""Layers that join, cut, copy or rearrange blobs."""

import functools
from collections.abc import Callable, Sequence

import torch

from netgen import graph
from netgen.schema import caffe_pb
from runner.layers.base import Layer, Tensors, refuse_outside
from runner.layers.gradient import custom_gradient
from runner.layers.in_place import warn_in_place


class Split(Layer, type="Split"):
    """The same blob for several consumers, whose gradients add up."""

    takes_bfloat16 = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [bottoms[0].view_as(bottoms[0]) for _ in self.param.top]


class Concat(Layer, type="Concat"):
    """Bottoms joined along `axis` (or the older concat_dim)."""

    takes_bfloat16 = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return [torch.cat(bottoms, self.shapes.axis)]


class Slice(Layer, type="Slice"):
    """One bottom cut along `axis` (or the older slice_dim), evenly or at slice_point."""

    takes_bfloat16 = True

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x = bottoms[0]
        shapes = self.shapes_of(x)
        return list(x.split([top[shapes.axis] for top in shapes.tops], shapes.axis))


class Eltwise(Layer, type="Eltwise"):
    """Product, weighted sum or maximum of bottoms of one shape."""

    takes_bfloat16 = True

    left: Callable[[], torch.Tensor] | None = None

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        p = self.param.eltwise_param
        self.coefficients = list(p.coeff) or [1.0] * len(bottoms)
        self.in_place = graph.in_place(self.param)
        self.product = p.operation == caffe_pb.EltwiseParameter.PROD
        self.divides = self.product and not p.stable_prod_grad
        if self.in_place:
            warn_in_place(
                self.param,
                "loses the gradient that comes from above"
                if self.product
                else f"loses its first bottom '{self.param.bottom[0]}'",
            )
        return super().setup(bottoms)

    def overwritten_by(self, types: set[str], left: Callable[[], torch.Tensor]) -> bool:
        if self.divides or (self.product and self.in_place):
            self.left = left
        return self.left is not None

    def _product(self, bottoms: Tensors) -> Tensors:
        """Caffe's gradients: of the other factors' product, or of the top over the factor."""
        xs = [x.detach() for x in bottoms]
        value = functools.reduce(torch.mul, xs)

        def backward(upstream):
            y = value if self.left is None else self.left()
            factors, found = [y, *xs[1:]] if self.in_place else xs, []
            for i, x in enumerate(factors):
                others = factors[:i] + factors[i + 1 :]
                slope = y / x if self.divides else functools.reduce(torch.mul, others)
                if self.in_place and i == 0 and bottoms[0].requires_grad:
                    upstream = slope.square()  # the slope has overwritten it
                    found.append(upstream)
                else:
                    found.append(slope * upstream)
            return found

        return [custom_gradient(value, bottoms, backward)]

    def _forward_in_place(self, bottoms: Tensors) -> Tensors:
        """Caffe clears the top, which is bottom[0], before it adds or compares.

        It also writes the gradient of bottom[0] over that of the top, which the others then find.
        """
        xs = [x.detach() for x in bottoms[1:]]
        if self.param.eltwise_param.operation == caffe_pb.EltwiseParameter.MAX:
            value, winner = torch.stack(xs).max(0)
            slopes = [torch.zeros_like(value), *(winner == i for i in range(len(xs)))]
        else:
            slopes = self.coefficients
            value = sum(slope * x for slope, x in zip(slopes[1:], xs, strict=True))

        def backward(upstream):
            first = slopes[0] * upstream
            if bottoms[0].requires_grad:
                upstream = first
            return [first, *(slope * upstream for slope in slopes[1:])]

        return [custom_gradient(value, bottoms, backward)]

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        if self.divides or (self.product and self.in_place):
            return self._product(bottoms)
        if self.in_place:
            return self._forward_in_place(bottoms)
        operation = self.param.eltwise_param.operation
        first, *rest = bottoms
        if operation == caffe_pb.EltwiseParameter.SUM:
            coefficients = self.coefficients
            top = first if coefficients[0] == 1 else first * coefficients[0]
            for x, coefficient in zip(rest, coefficients[1:], strict=True):
                top = torch.add(top, x, alpha=coefficient)
            return [top]
        top = first
        for i, x in enumerate(rest):
            if operation == caffe_pb.EltwiseParameter.PROD:
                top = top * x
            else:
                # Caffe gives a tie's whole gradient to one side: of the first two to the
                # second, later on to the one that led so far.
                top = torch.where(top > x if i == 0 else top >= x, top, x)
        return [top]


class Reshaping(Layer, type=("Flatten", "Reshape")):
    """The same values in another shape, which the graph's shape rule tells."""

    takes_bfloat16 = True
    #: Whether no gradient comes back, as behind some layers in Caffe (net/shared_memory.py).
    loses_gradient = False

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,) = bottoms
        top = x.reshape(self.shapes_of(x).tops[0])
        if self.loses_gradient and x.requires_grad:
            top = custom_gradient(top, [x], lambda upstream: [torch.zeros_like(x)])
        return [top]


class Crop(Layer, type="Crop"):
    """bottom[0] cut to bottom[1]'s size from `axis` on, at `offset`."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, like = bottoms
        for axis, offset in enumerate(self.shapes.offsets, self.shapes.axis):
            x = x.narrow(axis, offset, like.shape[axis])
        return [x]


class Tile(Layer, type="Tile"):
    """`tiles` copies along `axis`."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x = bottoms[0]
        repeats = [1] * x.dim()
        repeats[self.shapes_of(x).axis] = self.param.tile_param.tiles
        return [x.repeat(repeats)]


class Reduction(Layer, type="Reduction"):
    """SUM, ASUM, SUMSQ or MEAN over all axes from `axis` on, times coeff."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p, x = self.param.reduction_param, bottoms[0]
        rows = x.flatten(self.shapes_of(x).axis)
        if p.operation == caffe_pb.ReductionParameter.ASUM:
            rows = rows.abs()
        elif p.operation == caffe_pb.ReductionParameter.SUMSQ:
            rows = rows.square()
        top = rows.sum(-1)
        if p.operation == caffe_pb.ReductionParameter.MEAN:
            top = top / rows.shape[-1]
        return [top * p.coeff if p.coeff != 1 else top]


class BatchReindex(Layer, type="BatchReindex"):
    """The records of bottom[0] in the order in which, and as often as, bottom[1] lists them."""

    no_force_backward = (1,)
    refuses_backward_to = (1,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        index = bottoms[1].detach().long().reshape(-1)
        records = bottoms[0].shape[0]
        refuse_outside(
            index,
            records,
            lambda _: (
                f"layer '{self.name}': an index is outside the {records} records of "
                f"'{self.param.bottom[0]}'"
            ),
        )
        return [bottoms[0].index_select(0, index)]


class Filter(Layer, type="Filter"):
    """The records of the other bottoms for which the last bottom, the selector, is not 0."""

    replayable = False  # how many are chosen has to be known on the host
    untraceable = "how many records it passes on depends on their values"

    def setup(self, bottoms: Sequence[graph.Shape]) -> graph.LayerShapes:
        self.no_force_backward = self.refuses_backward_to = (len(bottoms) - 1,)
        return super().setup(bottoms)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        *values, selector = bottoms
        chosen = selector.detach().reshape(-1).nonzero().reshape(-1)
        return [x.index_select(0, chosen) for x in values]


class ArgMax(Layer, type="ArgMax"):
    """The indices of the top_k largest of each record, and with out_max_val the values as well.

    Along `axis`, if it is given, the top has either the one or the other. Of equal values the
    last comes first.
    """

    no_force_backward = (0,)
    refuses_backward_to = (0,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        p, x = self.param.argmax_param, bottoms[0].detach()
        shapes = self.shapes_of(x)
        if shapes.axis is not None:
            index, values = self._largest(x, shapes.axis)
            return [values if p.out_max_val else index]
        index, values = self._largest(x.reshape(x.shape[0], -1), 1)
        parts = [index, values] if p.out_max_val else [index]
        return [torch.stack(parts, 1).reshape(shapes.tops[0])]

    def _largest(self, x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
        top_k, turned = self.param.argmax_param.top_k, x.flip(axis)
        if top_k == 1:
            index = turned.argmax(axis, keepdim=True)  # the first of equal ones
            values = turned.gather(axis, index)
        elif torch.compiler.is_compiling():  # ONNX's TopK has equal ones in order
            values, index = turned.topk(top_k, axis)
        else:
            values, index = turned.sort(dim=axis, descending=True, stable=True)
            values, index = (found.narrow(axis, 0, top_k) for found in (values, index))
        return (x.shape[axis] - 1 - index).to(x.dtype), values


class Silence(Layer, type="Silence"):
    """Consumes its bottoms, so that they are not outputs of the net."""

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        return []
