"""The layers that take a split layer's place.

L with N outputs becomes L_split1 (the fast kernels) and L_split2 (the slow ones), both reading
L's bottom with L's geometry, something beside split2, then Concat and the 1x1 L_reorder, whose
top is L's old top:

    residual    split2 + residual_post(ReLU(residual_pre(bottom)))
    extension   extension(split2), 1x1
    skip        split2 + skip(bottom), a fixed 1x1

Ours: the new 1x1 layers have L's fillers and multipliers, and a bias where L has one, so that a
layer made for BatchNorm stays without and a frozen layer stays frozen. But msra, which doubles the
variance because a ReLU halves it, becomes xavier: reorder and extension read no ReLU, and what
residual_post gives is added to split2; three split layers in a row did not learn from fresh
weights with msra (width 1/8, 3,200 iterations, 3 of 3 runs). The skip never learns
(lr_mult 0): it has no bias, and is 0 until a transfer makes it the identity on the slow channels,
since no filler of Caffe's does. With a stride it takes every stride-th place of the bottom.
"""

from netgen.schema import caffe_pb


def parts(layer, plan):
    """{role: LayerParameter} of the layers in place of `layer`, in the order of the net.

    layer: the Convolution's LayerParameter. plan: its LayerPlan. A role is what is appended to
    the layer's name: `conv1` has a part `conv1_reorder` of role "reorder".
    """
    new = _BESIDE[plan.kind](_Maker(layer), plan)
    return {part.name.removeprefix(f"{layer.name}_"): part for part in new}


def weight_counts(plan, per_output, skip_channels):
    """{role: (outputs, weights an output)} of each convolution among the parts.

    per_output: weights of one output of the layer. skip_channels: channels of its bottom.
    """
    fast, slow = len(plan.fast), len(plan.slow)
    beside = {
        "residual": {
            "split2_residual_pre": (slow, per_output),
            "split2_residual_post": (slow, slow),
        },
        "extension": {"split2_extension": (slow, slow)},
        "skip": {"split2_skip": (slow, skip_channels)},
    }[plan.kind]
    return {
        "split1": (fast, per_output),
        "split2": (slow, per_output),
        **beside,
        "reorder": (plan.num_output, plan.num_output),
    }


class _Maker:
    """Makes layers in the frame of `layer`: its phase and rules, its name as a prefix."""

    def __init__(self, layer):
        self.layer = layer
        self.bottom = layer.bottom[0]

    def make(self, role, type_name, *bottoms, **fields):
        name = f"{self.layer.name}_{role}"
        part = caffe_pb.LayerParameter(name=name, type=type_name, bottom=bottoms, **fields)
        if not part.top:
            part.top.append(name)
        for field in ("include", "exclude"):
            getattr(part, field).extend(getattr(self.layer, field))
        if self.layer.HasField("phase"):
            part.phase = self.layer.phase
        return part

    def like(self, role, outputs):
        """A convolution that differs from the layer in its outputs alone."""
        part = self.make(
            role,
            "Convolution",
            self.bottom,
            param=self._multipliers(),
            convolution_param=self.layer.convolution_param,
            propagate_down=self.layer.propagate_down,
        )
        part.convolution_param.num_output = outputs
        return part

    def _multipliers(self):
        specs = [
            caffe_pb.ParamSpec.FromString(spec.SerializeToString()) for spec in self.layer.param
        ]
        for spec in specs:  # with a name the parts would share their weights
            spec.ClearField("name")
        return specs

    def pointwise(self, role, bottom, outputs, **fields):
        part = self.make(role, "Convolution", bottom, param=self._multipliers(), **fields)
        self._window_of_one(part, outputs, "bias_term", "weight_filler", "bias_filler")
        filler = part.convolution_param.weight_filler
        if filler.type == "msra":
            filler.type = "xavier"
        return part

    def skip(self, outputs):
        part = self.make(
            "split2_skip",
            "Convolution",
            self.bottom,
            param=[{"lr_mult": 0, "decay_mult": 0}],
            propagate_down=self.layer.propagate_down,
        )
        self._window_of_one(part, outputs, "stride", "stride_h", "stride_w")
        part.convolution_param.bias_term = False
        part.convolution_param.weight_filler.type = "constant"
        return part

    def _window_of_one(self, part, outputs, *copied):
        param = part.convolution_param
        param.MergeFrom(self.layer.convolution_param)
        for field, _ in param.ListFields():
            if field.name not in (*copied, "axis", "engine"):
                param.ClearField(field.name)
        param.num_output = outputs
        param.kernel_size.append(1)

    def join(self, slow, outputs):
        """Concat of split1 and the blob `slow`, then the reorder onto the layer's old top."""
        concat = self.make("concat", "Concat", f"{self.layer.name}_split1", slow)
        axis = self.layer.convolution_param.axis
        if axis != 1:
            concat.concat_param.axis = axis
        return concat, self.pointwise(
            "reorder",
            concat.top[0],
            outputs,
            top=self.layer.top,
            loss_weight=self.layer.loss_weight,
        )

    def sum(self, *bottoms):
        return self.make(
            "split2_sum",
            "Eltwise",
            *bottoms,
            eltwise_param={"operation": caffe_pb.EltwiseParameter.SUM},
        )


def _residual(maker, plan):
    slow = len(plan.slow)
    split1, split2 = maker.like("split1", len(plan.fast)), maker.like("split2", slow)
    pre = maker.like("split2_residual_pre", slow)
    relu = maker.make("split2_residual_relu", "ReLU", pre.name, top=[pre.name])
    post = maker.pointwise("split2_residual_post", pre.name, slow)
    total = maker.sum(split2.name, post.name)
    return split1, split2, pre, relu, post, total, *maker.join(total.name, plan.num_output)


def _extension(maker, plan):
    slow = len(plan.slow)
    split1, split2 = maker.like("split1", len(plan.fast)), maker.like("split2", slow)
    extension = maker.pointwise("split2_extension", split2.name, slow)
    return split1, split2, extension, *maker.join(extension.name, plan.num_output)


def _skip(maker, plan):
    slow = len(plan.slow)
    split1, split2 = maker.like("split1", len(plan.fast)), maker.like("split2", slow)
    skip = maker.skip(slow)
    total = maker.sum(split2.name, skip.name)
    return split1, split2, skip, total, *maker.join(total.name, plan.num_output)


_BESIDE = {"residual": _residual, "extension": _extension, "skip": _skip}
