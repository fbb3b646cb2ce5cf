"""Nets whose `layers` had an enum for a type (2014): V1LayerParameter to LayerParameter."""

from __future__ import annotations

from netgen.schema.caffe_pb import LayerParameter, NetParameter, V1LayerParameter

# The words of most enum names, capitalised, are the type: INNER_PRODUCT, InnerProduct.
_OTHER_NAMES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
_DATA_PARAMS = {
    V1LayerParameter.DATA: "data_param",
    V1LayerParameter.IMAGE_DATA: "image_data_param",
    V1LayerParameter.WINDOW_DATA: "window_data_param",
}
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_SAME_FIELDS = [
    field.name
    for field in V1LayerParameter.DESCRIPTOR.fields
    if field.name in {"name", "bottom", "top", "include", "exclude", "blobs", "loss_weight"}
    or field.name.endswith("_param")
]


def type_name(number: int) -> str:
    """The layer type of a V1 enum value."""
    name = V1LayerParameter.LayerType.Name(number)
    words = "".join(word.capitalize() for word in name.split("_"))
    return _OTHER_NAMES.get(name, words)


def upgrade_v1(net: NetParameter) -> None:
    """Turn `layers` into `layer`, in place."""
    for old in net.layers:
        _upgrade_layer(old, net.layer.add())
    net.ClearField("layers")


def _upgrade_layer(old: V1LayerParameter, new: LayerParameter) -> None:
    for field, value in old.ListFields():
        if field.name not in _SAME_FIELDS:
            continue
        if isinstance(value, str):
            setattr(new, field.name, value)
        elif hasattr(value, "MergeFrom"):
            getattr(new, field.name).MergeFrom(value)
    if old.HasField("type"):
        new.type = type_name(old.type)
    # What is one message a blob now was four parallel lists.
    for source, target in (
        ("param", "name"),
        ("blob_share_mode", "share_mode"),
        ("blobs_lr", "lr_mult"),
        ("weight_decay", "decay_mult"),
    ):
        for i, value in enumerate(getattr(old, source)):
            while len(new.param) <= i:
                new.param.add()
            setattr(new.param[i], target, value)


def upgrade_data_fields(net: NetParameter) -> bool:
    """Move scale, mean, crop and mirror of V1 data layers to transform_param.

    Returns whether there were any. As in Caffe, one such field anywhere gives every data
    layer of the net a transform_param, though it may be empty.
    """
    data_layers = [
        (layer, getattr(layer, _DATA_PARAMS[layer.type]))
        for layer in net.layers
        if layer.type in _DATA_PARAMS
    ]
    if not any(data.HasField(name) for _, data in data_layers for name in _TRANSFORM_FIELDS):
        return False
    for layer, data in data_layers:
        data.SetInParent()
        layer.transform_param.SetInParent()
        for name in _TRANSFORM_FIELDS:
            if data.HasField(name):
                setattr(layer.transform_param, name, getattr(data, name))
                data.ClearField(name)
    return True
