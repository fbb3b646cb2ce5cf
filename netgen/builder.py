"""Nets written in Python, in pycaffe's idiom.

    from netgen import NetSpec, layers as L, params as P

    n = NetSpec("LeNet")
    n.data, n.label = L.Data(source="mnist_train_lmdb", batch_size=64, ntop=2)
    n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5)
    n.pool1 = L.Pooling(n.conv1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    net = n.to_proto()

Any layer type can be called, and takes as keywords the fields of its own message
(`convolution_param` here), then those of LayerParameter; which is which is read from the
schema. A keyword that ends in `param` always is a field of LayerParameter. Blobs assigned to
a NetSpec get the attribute's name; others are named after their type, with a number, and
those numbers are not promised to stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from netgen.schema import caffe_pb

# Type: the LayerParameter field of its own message (Convolution: convolution_param, ...). Where
# several fields have one message, that of Caffe comes first: relu_param, and then relu6_param.
_OWN_PARAM = {
    field.message_type.name[: -len("Parameter")]: field
    for field in reversed(caffe_pb.LayerParameter.DESCRIPTOR.fields)
    if field.name.endswith("_param")
}


def to_proto(*tops: Top | Function, name: str | None = None) -> caffe_pb.NetParameter:
    """The NetParameter with every layer that the given tops need."""
    return _net(((None, top) for top in tops), name)


def assign_proto(proto: Any, name: str, value: object) -> None:
    """Set field `name` of a message to a Python value.

    A dict fills a message field by field, a list fills a repeated field, a single value is
    one entry of a repeated field; lists and dicts may be nested. Raises AttributeError for
    an unknown field, TypeError or ValueError, naming the field, for a value that does not fit.
    """
    if name not in proto.DESCRIPTOR.fields_by_name:
        raise AttributeError(f"{proto.DESCRIPTOR.name} has no field '{name}'")
    field = getattr(proto, name)
    if hasattr(field, "extend"):
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, dict):
                _assign_fields(field.add(), item)
            else:
                _checked(proto, name, lambda item=item: field.append(item))
    elif isinstance(value, dict):
        _assign_fields(field, value)
    else:
        _checked(proto, name, lambda: setattr(proto, name, value))


def set_parameters(layer: caffe_pb.LayerParameter, params: Mapping[str, Any]) -> None:
    """Set parameters of a layer whose type is set: fields of its own message, then of the layer.

    Raises AttributeError for one that there is not, and what assign_proto raises.
    """
    own = _OWN_PARAM.get(layer.type)
    for key, value in params.items():
        is_own = own and key in own.message_type.fields_by_name
        if is_own and not key.endswith("param"):
            assign_proto(getattr(layer, own.name), key, value)
        elif key in layer.DESCRIPTOR.fields_by_name:
            assign_proto(layer, key, value)
        else:
            raise AttributeError(f"{layer.type} has no parameter '{key}'")


def _assign_fields(message: Any, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        assign_proto(message, name, value)


def _checked(proto: Any, name: str, assign: Callable[[], object]) -> None:
    try:
        assign()
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{proto.DESCRIPTOR.name}.{name}: {error}") from None


class Top:
    """One output blob of a layer."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn = fn  # the Function that makes it
        self.n = n  # and its index among the Function's tops

    def to_proto(self) -> caffe_pb.NetParameter:
        """The NetParameter with every layer that this blob needs."""
        return to_proto(self)


class Function:
    """A layer: its type, the Tops it reads, its parameters, and its own Tops.

    ntop is the number of outputs; in_place makes them the inputs themselves.
    """

    def __init__(self, type_name: str, inputs: tuple[Top, ...], params: Mapping[str, Any]) -> None:
        for index, value in enumerate(inputs):
            if not isinstance(value, Top):
                raise TypeError(f"{type_name} input {index} is not a Top (type is {type(value)})")
        self.type_name = type_name
        self.inputs = inputs
        self.params = dict(params)
        self.ntop = self.params.pop("ntop", 1)
        self.in_place = self.params.pop("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    @property
    def fn(self) -> Function:
        """The layer itself, so that one without tops stands in a NetSpec like a Top."""
        return self

    def _add_to(
        self,
        layers: dict[Function, caffe_pb.LayerParameter],
        names: dict[Top | Function, str],
        autonames: Counter[str],
    ) -> None:
        """Append this layer to `layers` (Function -> LayerParameter), after those it needs."""
        if self in layers:
            return
        for top in self.inputs:
            top.fn._add_to(layers, names, autonames)

        def name_of(thing: Top | Function) -> str:
            if thing not in names:
                autonames[self.type_name] += 1
                names[thing] = f"{self.type_name}{autonames[self.type_name]}"
            return names[thing]

        layer = caffe_pb.LayerParameter(type=self.type_name)
        layer.bottom.extend(layers[top.fn].top[top.n] for top in self.inputs)
        layer.top.extend(layer.bottom if self.in_place else map(name_of, self.tops))
        layer.name = name_of(self.tops[0] if self.tops else self)
        set_parameters(layer, self.params)
        layers[self] = layer


class NetSpec:
    """A net under construction: a mapping from blob names to Tops, as attributes or items.

    Reading a name that was not assigned raises KeyError, as in pycaffe.
    """

    def __init__(self, name: str | None = None) -> None:
        vars(self).update(tops={}, _net_name=name)  # past __setattr__

    def __setattr__(self, name: str, value: Any) -> None:
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        return self.tops[name]

    __setitem__ = __setattr__
    __getitem__ = __getattr__

    def to_proto(self) -> caffe_pb.NetParameter:
        """The NetParameter with every layer that the assigned Tops need."""
        return _net(self.tops.items(), self._net_name)


class Layers:
    """Makes a function of any layer type; it returns one Top, or a tuple of ntop of them.

    With ntop=0 it returns the layer, to be assigned to a NetSpec like a Top.
    """

    def __getattr__(self, type_name: str) -> Callable[..., Any]:
        if type_name.startswith("__"):  # Python asking what this is: not a layer type
            raise AttributeError(type_name)

        def layer(*inputs: Top, **params: Any) -> Any:
            fn = Function(type_name, inputs, params)
            if fn.ntop == 0:
                return fn
            return fn.tops[0] if fn.ntop == 1 else fn.tops

        return layer


class Parameters:
    """params.Pooling.MAX is PoolingParameter.MAX, and so on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(caffe_pb, f"{name}Parameter")


def _net(
    named_tops: Iterable[tuple[str | None, Top | Function]], net_name: str | None
) -> caffe_pb.NetParameter:
    named_tops = list(named_tops)
    names = {top: name for name, top in named_tops if name is not None}
    layers: dict[Function, caffe_pb.LayerParameter] = {}
    autonames: Counter[str] = Counter()
    for _, top in named_tops:
        top.fn._add_to(layers, names, autonames)
    net = caffe_pb.NetParameter(layer=layers.values())
    if net_name is not None:
        net.name = net_name
    return net


layers = Layers()
params = Parameters()
