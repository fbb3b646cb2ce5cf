"""Makes the layers that take a split layer's place, and says which layers can be split.

Ours: the new 1x1 layers have the split layer's fillers and multipliers, and a bias where it has
one, so that a layer made for BatchNorm stays without and a frozen layer stays frozen. But msra,
which doubles the variance because a ReLU halves it, becomes xavier: reorder and extension read no
ReLU, and what residual_post gives is added to split2; three split layers in a row did not learn
from fresh weights with msra (width 1/8, 3,200 iterations, 3 of 3 runs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from netgen.schema import caffe_pb

if TYPE_CHECKING:  # nets are made without it
    import numpy as np

#: The types of layer that are measured and can be split: their weights have a row an output.
TYPES = ("Convolution", "InnerProduct")


def own_param(
    layer: caffe_pb.LayerParameter,
) -> caffe_pb.ConvolutionParameter | caffe_pb.InnerProductParameter:
    """The convolution_param or inner_product_param of a layer of one of TYPES."""
    is_convolution = layer.type == "Convolution"
    return layer.convolution_param if is_convolution else layer.inner_product_param


def is_transposed(layer: caffe_pb.LayerParameter) -> bool:
    """Whether its weights have a column an output, as an InnerProduct's may."""
    return layer.type == "InnerProduct" and layer.inner_product_param.transpose


def groups(layer: caffe_pb.LayerParameter) -> int:
    """How many groups its outputs read their bottom in."""
    return layer.convolution_param.group if layer.type == "Convolution" else 1


def by_row(layer: caffe_pb.LayerParameter, weight: np.ndarray) -> np.ndarray:
    """The weights with a row an output: of an InnerProduct older files have (1, 1, N, K)."""
    if layer.type == "InnerProduct" and weight.ndim == 4 and weight.shape[:2] == (1, 1):
        return weight[0, 0]
    return weight


class Halves(Protocol):
    """What a LayerPlan says of its layer: the output channels of the fast and of the slow part."""

    @property
    def fast(self) -> tuple[int, ...]: ...

    @property
    def slow(self) -> tuple[int, ...]: ...

    @property
    def num_output(self) -> int: ...


class PartMaker:
    """Makes layers in the frame of a split layer: its phase and rules, its name as a prefix.

    The methods take a role, which is appended to the layer's name. The top of a new layer has
    the layer's name, unless it is given.
    """

    def __init__(self, layer: caffe_pb.LayerParameter):
        self.layer = layer
        self.bottom = layer.bottom[0]

    def make(
        self, role: str, type_name: str, *bottoms: str, **fields: Any
    ) -> caffe_pb.LayerParameter:
        """A layer of any type with these fields of LayerParameter."""
        name = f"{self.layer.name}_{role}"
        part = caffe_pb.LayerParameter(name=name, type=type_name, bottom=bottoms, **fields)
        if not part.top:
            part.top.append(name)
        for field in ("include", "exclude"):
            getattr(part, field).extend(getattr(self.layer, field))
        if self.layer.HasField("phase"):
            part.phase = self.layer.phase
        return part

    def like(self, role: str, outputs: int) -> caffe_pb.LayerParameter:
        """A layer that differs from the split one in its outputs alone."""
        part = self.make(
            role,
            self.layer.type,
            self.bottom,
            param=self._multipliers(),
            propagate_down=self.layer.propagate_down,
        )
        own_param(part).MergeFrom(own_param(self.layer))
        own_param(part).num_output = outputs
        return part

    def pointwise(
        self, role: str, bottom: str, outputs: int, **fields: Any
    ) -> caffe_pb.LayerParameter:
        """A 1x1 convolution, or an InnerProduct, that learns as the split layer does."""
        part = self.make(role, self.layer.type, bottom, param=self._multipliers(), **fields)
        self._window_of_one(part, outputs, "bias_term", "weight_filler", "bias_filler")
        filler = own_param(part).weight_filler
        if filler.type == "msra":
            filler.type = "xavier"
        return part

    def fixed_pointwise(
        self, role: str, outputs: int, bottom: str | None = None
    ) -> caffe_pb.LayerParameter:
        """A 1x1 convolution without bias that never learns.

        It reads the split layer's bottom with its stride, or another blob with none.
        """
        part = self.make(
            role,
            "Convolution",
            bottom or self.bottom,
            param=[{"lr_mult": 0, "decay_mult": 0}],
            propagate_down=self.layer.propagate_down,
        )
        kept = () if bottom else ("stride", "stride_h", "stride_w")
        self._window_of_one(part, outputs, *kept)
        part.convolution_param.bias_term = False
        part.convolution_param.weight_filler.type = "constant"
        return part

    def average(self, role: str, side: int) -> caffe_pb.LayerParameter:
        """The mean of every side x side square of the split layer's bottom."""
        return self.make(
            role,
            "Pooling",
            self.bottom,
            pooling_param={
                "pool": caffe_pb.PoolingParameter.AVE,
                "kernel_size": side,
                "stride": side,
            },
            propagate_down=self.layer.propagate_down,
        )

    def sum(self, role: str, *bottoms: str) -> caffe_pb.LayerParameter:
        """The elementwise sum of blobs."""
        return self.make(
            role, "Eltwise", *bottoms, eltwise_param={"operation": caffe_pb.EltwiseParameter.SUM}
        )

    def join(
        self, fast: caffe_pb.LayerParameter, slow: caffe_pb.LayerParameter, outputs: int
    ) -> tuple[caffe_pb.LayerParameter, caffe_pb.LayerParameter]:
        """The Concat of two layers' tops and the reorder onto the split layer's old top."""
        concat = self.make("concat", "Concat", fast.name, slow.name)
        axis = own_param(self.layer).axis
        if self.layer.type == "InnerProduct" and axis < 0:
            axis = -1  # where an InnerProduct's outputs are, whichever axes it read
        if axis != 1:
            concat.concat_param.axis = axis
        return concat, self.pointwise(
            "reorder",
            concat.top[0],
            outputs,
            top=self.layer.top,
            loss_weight=self.layer.loss_weight,
        )

    def _multipliers(self) -> list[caffe_pb.ParamSpec]:
        specs = [
            caffe_pb.ParamSpec.FromString(spec.SerializeToString()) for spec in self.layer.param
        ]
        for spec in specs:  # with a name the parts would share their weights
            spec.ClearField("name")
        return specs

    def _window_of_one(self, part: caffe_pb.LayerParameter, outputs: int, *copied: str) -> None:
        param = own_param(part)
        param.MergeFrom(own_param(self.layer))
        for field, _ in param.ListFields():
            if field.name not in (*copied, "axis", "engine"):
                param.ClearField(field.name)
        param.num_output = outputs
        if part.type == "Convolution":
            part.convolution_param.kernel_size.append(1)
