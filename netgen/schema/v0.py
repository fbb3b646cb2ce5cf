"""Nets whose layers had one flat message for all types (2013): V0LayerParameter to V1."""

from __future__ import annotations

from typing import Any

from netgen.schema.caffe_pb import NetParameter, V1LayerParameter
from netgen.schema.files import SchemaError

_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}
_PARAMS = {
    "concat": "concat_param",
    "conv": "convolution_param",
    "data": "data_param",
    "dropout": "dropout_param",
    "hdf5_data": "hdf5_data_param",
    "hdf5_output": "hdf5_output_param",
    "images": "image_data_param",
    "infogain_loss": "infogain_loss_param",
    "innerproduct": "inner_product_param",
    "lrn": "lrn_param",
    "pool": "pooling_param",
    "window_data": "window_data_param",
}
# V0 field: (its name in the type's own message, the types that have it)
_FIELDS = {
    "num_output": ("num_output", "conv innerproduct"),
    "biasterm": ("bias_term", "conv innerproduct"),
    "weight_filler": ("weight_filler", "conv innerproduct"),
    "bias_filler": ("bias_filler", "conv innerproduct"),
    "pad": ("pad", "conv pool"),
    "kernelsize": ("kernel_size", "conv pool"),
    "group": ("group", "conv"),
    "stride": ("stride", "conv pool"),
    "pool": ("pool", "pool"),
    "dropout_ratio": ("dropout_ratio", "dropout"),
    "local_size": ("local_size", "lrn"),
    "alpha": ("alpha", "lrn"),
    "beta": ("beta", "lrn"),
    "k": ("k", "lrn"),
    "source": ("source", "data hdf5_data images window_data infogain_loss"),
    "batchsize": ("batch_size", "data hdf5_data images window_data"),
    "rand_skip": ("rand_skip", "data images"),
    "shuffle_images": ("shuffle", "images"),
    "new_height": ("new_height", "images"),
    "new_width": ("new_width", "images"),
    "concat_dim": ("concat_dim", "concat"),
    "det_fg_threshold": ("fg_threshold", "window_data"),
    "det_bg_threshold": ("bg_threshold", "window_data"),
    "det_fg_fraction": ("fg_fraction", "window_data"),
    "det_context_pad": ("context_pad", "window_data"),
    "det_crop_mode": ("crop_mode", "window_data"),
    "hdf5_output_param": ("", "hdf5_output"),
}
_TRANSFORM = {
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}


def upgrade_v0(net: NetParameter) -> list[str]:
    """Turn V0 layers into V1 layers, in place.

    Returns a line for each field that has no place in its layer's type (Caffe drops it and
    goes on). Raises SchemaError for a net that Caffe refuses.
    """
    for old in net.layers:
        if not old.HasField("layer"):
            raise SchemaError(
                f"Refusing to upgrade inconsistent NetParameter input; "
                f"layer '{old.name}' is not in the V0 format of the others"
            )
    unpadded = _without_padding_layers(net)
    # The rest of a V0 net's fields did not exist then; Caffe drops them.
    upgraded = NetParameter(input=net.input, input_dim=net.input_dim)
    for name in ("name", "force_backward"):
        if net.HasField(name):
            setattr(upgraded, name, getattr(net, name))
    notes = []
    for old in unpadded:
        notes += _upgrade_layer(old, upgraded.layers.add())
    net.CopyFrom(upgraded)
    return notes


def _without_padding_layers(net: NetParameter) -> list[V1LayerParameter]:
    """The net's layers, each "padding" layer merged into the convolutions that read it."""
    producer = dict.fromkeys(net.input)
    kept = []
    for connection in net.layers:
        layer = V1LayerParameter()
        layer.CopyFrom(connection)
        for i, bottom in enumerate(connection.bottom):
            if bottom not in producer:
                raise SchemaError(f"Unknown blob input {bottom} to layer {layer.layer.name}")
            source = producer[bottom]
            if source is not None and source.layer.type == "padding":
                _check_padding(source, layer)
                layer.layer.pad = source.layer.pad
                layer.bottom[i] = source.bottom[0]
        if layer.layer.type != "padding":
            kept.append(layer)
        producer.update(dict.fromkeys(connection.top, connection))
    return kept


def _check_padding(padding: V1LayerParameter, reader: V1LayerParameter) -> None:
    name = reader.layer.name
    if reader.layer.type not in ("conv", "pool"):
        raise SchemaError(
            f"Padding layer input to non-convolutional / non-pooling layer type "
            f"{reader.layer.type} (layer '{name}')"
        )
    if len(reader.bottom) != 1:
        raise SchemaError(f"Conv Layer takes a single blob as input (layer '{name}')")
    if len(padding.bottom) != 1 or len(padding.top) != 1:
        raise SchemaError(
            f"Padding Layer takes and produces a single blob (layer '{padding.layer.name}')"
        )


def _upgrade_layer(old: V1LayerParameter, new: V1LayerParameter) -> list[str]:
    new.bottom.extend(old.bottom)
    new.top.extend(old.top)
    notes = []
    v0 = old.layer
    for field, value in v0.ListFields():
        if field.name == "type":
            if value not in _TYPES:
                raise SchemaError(f"Unknown layer name: {value} (layer '{v0.name}')")
            new.type = V1LayerParameter.LayerType.Value(_TYPES[value])
        elif field.name == "name":
            new.name = value
        elif field.name in ("blobs", "blobs_lr", "weight_decay"):
            getattr(new, field.name).extend(value)
        elif field.name in _TRANSFORM:
            setattr(new.transform_param, _TRANSFORM[field.name], value)
        elif field.name in _FIELDS:
            target, types = _FIELDS[field.name]
            if v0.type in types.split():
                _assign(getattr(new, _PARAMS[v0.type]), target, value)
            else:
                notes.append(
                    f"Unknown parameter {field.name} for layer type {v0.type} (layer '{v0.name}')"
                )
    return notes


def _assign(param: Any, name: str, value: Any) -> None:
    target = getattr(param, name) if name else param
    if hasattr(target, "CopyFrom"):
        target.CopyFrom(value)
    elif hasattr(target, "append"):
        target.append(value)
    else:
        setattr(param, name, value)
