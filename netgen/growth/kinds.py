"""The kinds of split: which layers take a split layer's place, and all that depends on them.

L with N outputs becomes L_split1 (the fast kernels) and L_split2 (the slow ones), both reading
L's bottom with L's geometry, something beside split2, then Concat and the 1x1 L_reorder, whose
top is L's old top:

    residual    split2 + residual_post(ReLU(residual_pre(bottom)))
    extension   extension(split2), 1x1
    skip        split2 + skip(bottom), a fixed 1x1
    average     split2 + average(mean of the bottom's squares), a fixed 1x1

A kind is a subclass of Kind: it says what stands beside split2, how many weights that has, what
it requires of the layer, what it starts from, and what its layers are to a reader of the net.
What the parts start from, W being the rows of the slow kernels (see transfer.py for the starts):

    part           study                           preserve
    split1         the fast kernels                the same
    split2         W                               W; beside a skip less what it adds
    residual_pre   -0.2 W, plus 2 W at the centre  the same
    residual_post  identity + noise                0
    extension      identity + noise                identity
    skip, average  identity on the slow channels   the same
    reorder        the parent's order + noise      the parent's order

`preserve` zeroes the outgoing side of the residual and not the incoming: a ReLU unit fed by zeros
would never get a gradient.

L is a Convolution, or an InnerProduct: then 1x1 layers are InnerProducts, a kernel is its own
centre, and there is no skip. residual_pre can start otherwise (Init.pre): from a filler, or from one gradient (start.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from netgen import graph
from netgen.growth.errors import SplitError, TransferError
from netgen.growth.parts import Halves, PartMaker, own_param
from netgen.schema import caffe_pb

if TYPE_CHECKING:  # it imports NumPy
    from netgen.growth.start import Start

#: {role: (outputs, weights of each output)} of convolutions among the parts.
Counts = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Role:
    """What a part of a split is to a reader of the net.

    place: one of FAST, SLOW, BESIDE, GLUE. joins: whether it is a 1x1 layer that only joins
    parts, which no later plan chooses to split again.
    """

    place: str
    joins: bool = False


FAST, SLOW = "fast part", "slow part"
BESIDE, GLUE = "beside the slow part", "glue of a split"

#: The roles that every kind has; a role is what is appended to the name of the split layer.
COMMON = {"split1": Role(FAST), "split2": Role(SLOW), "reorder": Role(GLUE, joins=True)}

#: Every kind by its name, in the order in which they are listed.
KINDS: dict[str, Kind] = {}


class Kind:
    """A kind of split. Defining a subclass enters it in KINDS.

    name: as plans spell it. roles: those of the convolutions that stand beside split2; their
    names in the net begin with the name of the split layer.
    """

    name: ClassVar[str]
    roles: ClassVar[dict[str, Role]]

    def __init_subclass__(cls) -> None:
        KINDS[cls.name] = cls()

    def beside(
        self, maker: PartMaker, split2: caffe_pb.LayerParameter
    ) -> tuple[caffe_pb.LayerParameter, ...]:
        """The layers after split1 and split2; the top of the last one goes into the Concat."""
        raise NotImplementedError

    def counts(self, slow: int, per_output: int, channels: int) -> Counts:
        """The weights of what stands beside split2.

        slow: outputs of split2. per_output: weights of one output of the layer. channels: of
        its bottom, as far as `require` has made sure of them.
        """
        raise NotImplementedError

    def require(
        self,
        layer: caffe_pb.LayerParameter,
        info: Callable[[], graph.LayerInfo | None],
    ) -> None:
        """Raise SplitError where a layer cannot be split in this way.

        info: gives the layer with its shapes, None where they cannot be known.
        """

    def start(self, start: Start) -> None:
        """Set the weights of what stands beside split2, and change split2's where need be."""
        raise NotImplementedError

    def parts(
        self, layer: caffe_pb.LayerParameter, plan: Halves
    ) -> dict[str, caffe_pb.LayerParameter]:
        """{role: LayerParameter} of the layers in place of `layer`, in the order of the net.

        layer: the Convolution. plan: says how many of its outputs are fast and slow. `conv1` has
        a part `conv1_reorder` of role "reorder".
        """
        maker = PartMaker(layer)
        split1 = maker.like("split1", len(plan.fast))
        split2 = maker.like("split2", len(plan.slow))
        beside = self.beside(maker, split2)
        new = (split1, split2, *beside, *maker.join(split1, beside[-1], plan.num_output))
        return {part.name.removeprefix(f"{layer.name}_"): part for part in new}

    def weight_counts(self, plan: Halves, per_output: int, channels: int) -> Counts:
        """The weights of each convolution among the parts; the numbers are those of `counts`."""
        fast, slow = len(plan.fast), len(plan.slow)
        return {
            "split1": (fast, per_output),
            "split2": (slow, per_output),
            **self.counts(slow, per_output, channels),
            "reorder": (plan.num_output, plan.num_output),
        }


class Residual(Kind):
    """split2 + residual_post(ReLU(residual_pre(bottom))); the case study splits in this way."""

    name = "residual"
    roles = {
        "split2_residual_pre": Role(BESIDE),
        "split2_residual_post": Role(GLUE, joins=True),
    }

    def beside(
        self, maker: PartMaker, split2: caffe_pb.LayerParameter
    ) -> tuple[caffe_pb.LayerParameter, ...]:
        slow = own_param(split2).num_output
        pre = maker.like("split2_residual_pre", slow)
        relu = maker.make("split2_residual_relu", "ReLU", pre.name, top=[pre.name])
        post = maker.pointwise("split2_residual_post", pre.name, slow)
        return pre, relu, post, maker.sum("split2_sum", split2.name, post.name)

    def counts(self, slow: int, per_output: int, channels: int) -> Counts:
        return {"split2_residual_pre": (slow, per_output), "split2_residual_post": (slow, slow)}

    def start(self, start: Start) -> None:
        start.residual_pre("split2_residual_pre")
        start.identity("split2_residual_post", scale=0 if start.preserve else 1)


class Extension(Kind):
    """extension(split2), a 1x1 convolution."""

    name = "extension"
    roles = {"split2_extension": Role(BESIDE, joins=True)}

    def beside(
        self, maker: PartMaker, split2: caffe_pb.LayerParameter
    ) -> tuple[caffe_pb.LayerParameter, ...]:
        outputs = own_param(split2).num_output
        return (maker.pointwise("split2_extension", split2.name, outputs),)

    def counts(self, slow: int, per_output: int, channels: int) -> Counts:
        return {"split2_extension": (slow, slow)}

    def start(self, start: Start) -> None:
        start.identity("split2_extension")


class Skip(Kind):
    """split2 + skip(bottom), a 1x1 convolution that passes the slow channels on and never learns.

    It has no bias, and is 0 until a transfer makes it the identity on the slow channels, since
    no filler of Caffe's does. With a stride it takes every stride-th place of the bottom.
    """

    name = "skip"
    role: ClassVar[str] = "split2_skip"
    roles = {role: Role(BESIDE)}

    def beside(
        self, maker: PartMaker, split2: caffe_pb.LayerParameter
    ) -> tuple[caffe_pb.LayerParameter, ...]:
        skip = maker.fixed_pointwise(self.role, split2.convolution_param.num_output)
        return skip, maker.sum("split2_sum", split2.name, skip.name)

    def counts(self, slow: int, per_output: int, channels: int) -> Counts:
        return {self.role: (slow, channels)}

    def require(
        self,
        layer: caffe_pb.LayerParameter,
        info: Callable[[], graph.LayerInfo | None],
    ) -> None:
        if layer.type != "Convolution":
            raise SplitError(f"cannot have a skip, as it is of type {layer.type}")
        param = layer.convolution_param
        found = info()
        if found is None:
            raise SplitError("cannot have a skip: the net does not tell the shape of its bottom")
        channels = found.bottoms[0][found.shapes.axis]
        if channels != param.num_output:
            raise SplitError(
                "cannot have a skip, which needs as many bottom channels as outputs "
                f"({channels} vs. {param.num_output})"
            )
        window = found.shapes.geometry
        for kernel, pad, dilation in zip(window.kernel, window.pad, window.dilation, strict=True):
            if kernel % 2 == 0 or 2 * pad != dilation * (kernel - 1):
                raise SplitError(
                    "cannot have a skip, whose places are the centres of its kernel: that must be "
                    f"odd and padded by half (kernel {kernel}, dilation {dilation}, pad {pad})"
                )

    def start(self, start: Start) -> None:
        if start.channels != start.plan.num_output:
            raise TransferError(
                f"layer '{start.layer.name}' cannot have a skip: it has "
                f"{start.plan.num_output} outputs, and its weights are for "
                f"{start.channels} channels"
            )
        start.slow_channels(self.role)
        if start.preserve:
            start.subtract_slow_channels(self.side(start.layer))

    def side(self, layer: caffe_pb.LayerParameter) -> int:
        """The side of the squares of the bottom that the skip takes the mean of."""
        return 1


class Average(Skip):
    """split2 + average(mean of the bottom's squares), a 1x1 that passes the slow channels on.

    With a stride of s it takes the mean of every s x s square where `skip` takes one place of it.
    The squares must lie inside the layer's kernel and fill the bottom.
    """

    name = "average"
    role = "split2_average"
    roles = {role: Role(BESIDE)}

    def beside(
        self, maker: PartMaker, split2: caffe_pb.LayerParameter
    ) -> tuple[caffe_pb.LayerParameter, ...]:
        pool = maker.average("split2_average_pool", self.side(split2))
        outputs = split2.convolution_param.num_output
        average = maker.fixed_pointwise(self.role, outputs, pool.name)
        return pool, average, maker.sum("split2_sum", split2.name, average.name)

    def require(
        self,
        layer: caffe_pb.LayerParameter,
        info: Callable[[], graph.LayerInfo | None],
    ) -> None:
        super().require(layer, info)
        found = info()
        if found is None:
            return
        window = found.shapes.geometry
        sides = found.bottoms[0][found.shapes.axis + 1 :]
        if len(set(window.stride)) > 1 or len(sides) != 2:
            raise SplitError("cannot have an average, whose squares have one side for both axes")
        step = window.stride[0]
        for kernel, pad, dilation, side in zip(
            window.kernel, window.pad, window.dilation, sides, strict=True
        ):
            if side % step or (step > 1 and (dilation > 1 or step > kernel - pad)):
                raise SplitError(
                    "cannot have an average, whose squares must fill the bottom and lie inside "
                    f"the kernel (side {side}, stride {step}, kernel {kernel}, pad {pad}, "
                    f"dilation {dilation})"
                )

    def side(self, layer: caffe_pb.LayerParameter) -> int:
        param = layer.convolution_param
        return param.stride_h or (param.stride[0] if param.stride else 1)


def role_of(name: str) -> Role | None:
    """The role of the layer of this name among the parts of a split; None where it has none."""
    roles = [COMMON, *(kind.roles for kind in KINDS.values())]
    endings = {
        f"_{role.removeprefix('split2_')}": what for known in roles for role, what in known.items()
    }
    return next((role for ending, role in endings.items() if name.endswith(ending)), None)


def is_part(name: str) -> bool:
    """Whether this names the fast or the slow part of a layer that was split."""
    role = role_of(name)
    return role is not None and role.place in (FAST, SLOW)


def is_glue(name: str) -> bool:
    """Whether this names a 1x1 layer that only joins the parts of a split."""
    role = role_of(name)
    return role is not None and role.joins
