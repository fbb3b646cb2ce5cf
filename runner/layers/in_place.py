"""What Caffe's backward makes of layers used in place.

A layer used in place (top and bottom are one blob) has overwritten its input by the time
backward runs, and its bottom's gradient shares memory with its top's. Most layers are written
with that in mind; those here are not, and train differently in place than not. To give the
numbers Caffe gives, we follow it, and say so in the log when the net is set up.
"""

from runner import glog


def is_in_place(layer_param):
    """Is the first top the first bottom?"""
    return bool(layer_param.top) and list(layer_param.top[:1]) == list(layer_param.bottom[:1])


def warn_in_place(layer_param, what):
    """Say once, at setup, what the layer's user probably does not expect."""
    glog.warning(
        f"layer '{layer_param.name}': {layer_param.type} in place {what}, in Caffe and "
        "therefore here; give its top a name of its own to avoid that",
        "net.cpp:369",
    )
