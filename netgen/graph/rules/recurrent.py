"""LSTM, RNN, LSTMUnit (recurrent_layer.cpp, lstm_layer.cpp, rnn_layer.cpp, lstm_unit_layer.cpp).

Caffe unrolls LSTM and RNN into a net of T steps inside the layer. Their blobs are the parameters
of that net, in the order in which it first uses them.
"""

from collections.abc import Callable
from math import prod

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, axis_of, dim, shape_string
from netgen.schema import caffe_pb

_STATES = {"LSTM": 2, "RNN": 1}  # h and c; h

#: A function that lists the shapes of a layer's weights. It is given D, K, and a function that
#: lists the static weight, if there is one, of so many rows.
Blobs = Callable[[int, int, Callable[[int], list[Shape]]], list[Shape]]


def _bottoms(layer: caffe_pb.LayerParameter) -> tuple[int, int]:
    """The sequence, cont, perhaps a static input, and the first states if they are exposed."""
    least = 2 + _exposed(layer)
    return least, least + 1


def _tops(layer: caffe_pb.LayerParameter) -> int:
    return 1 + _exposed(layer)


def _exposed(layer: caffe_pb.LayerParameter) -> int:
    return _STATES[layer.type] if layer.recurrent_param.expose_hidden else 0


@rule("LSTM", bottoms=_bottoms, tops=_tops)
def lstm(setup: Setup) -> LayerShapes:
    """W_xc (4 D, K), b_c (4 D), W_xc_static (4 D, K_static) if used, W_hc (4 D, D)."""
    return _unrolled(setup, lambda d, k, static: [(4 * d, k), (4 * d,), *static(4 * d), (4 * d, d)])


@rule("RNN", bottoms=_bottoms, tops=_tops)
def rnn(setup: Setup) -> LayerShapes:
    """W_xh (D, K), b_h (D), W_xh_static (D, K_static) if used, W_hh, W_ho (D, D), b_o (D)."""
    return _unrolled(setup, lambda d, k, static: [(d, k), (d,), *static(d), (d, d), (d, d), (d,)])


def _unrolled(setup: Setup, blobs: Blobs) -> LayerShapes:
    x, cont = setup.bottoms[:2]
    require(
        len(x) >= 2,
        f"bottom[0] must have at least 2 axes -- (#timesteps, #streams, ...) ({shape_string(x)})",
    )
    steps, streams = x[:2]
    require(
        len(cont) == 2,
        f"bottom[1] must have exactly 2 axes -- (#timesteps, #streams) ({shape_string(cont)})",
    )
    require_equal(steps, cont[0], "bottom[0] and bottom[1] differ in #timesteps")
    require_equal(streams, cont[1], "bottom[0] and bottom[1] differ in #streams")
    outputs = setup.layer.recurrent_param.num_output
    require(outputs > 0, "num_output must be positive")
    states = _exposed(setup.layer)
    axis_of(x, 2)
    static = setup.bottoms[2] if len(setup.bottoms) > 2 + states else None
    if static is not None:
        require_equal(streams, dim(static, 0), "bottom[0] and bottom[2] differ in #streams")
        axis_of(static, 1)
    state: Shape = (1, streams, outputs)
    for i, given in enumerate(setup.bottoms[len(setup.bottoms) - states :]):
        require(
            given == state,
            f"shape mismatch - recur_input_blobs_[{i}]: {shape_string(state)} vs. "
            f"bottom[{len(setup.bottoms) - states + i}]: {shape_string(given)}",
        )
    k = prod(x[2:])
    k_static = prod(static[1:]) if static is not None else 0
    params = blobs(outputs, k, lambda rows: [(rows, k_static)] if static is not None else [])
    # Every weight works once a step and stream, but the static one once a stream.
    macs = sum(
        streams * prod(weight) * (1 if static is not None and i == 2 else steps)
        for i, weight in enumerate(params)
        if len(weight) == 2
    )
    return LayerShapes([(steps, streams, outputs), *[state] * states], params, macs)


@rule("LSTMUnit", bottoms=3, tops=2)
def lstm_unit(setup: Setup) -> LayerShapes:
    """Cell state (1, N, D), gate inputs (1, N, 4 D), cont (1, N) to cell and hidden state."""
    cell, gates, cont = setup.bottoms
    for i, (bottom, axes) in enumerate(((cell, 3), (gates, 3), (cont, 2))):
        require_equal(axes, len(bottom), f"bottom[{i}] has the wrong number of axes")
        require_equal(1, bottom[0], f"bottom[{i}] must hold one timestep")
        require_equal(cell[1], bottom[1], f"bottom[0] and bottom[{i}] differ in #streams")
    require_equal(4 * cell[2], gates[2], "gate inputs must be 4 times the cell state")
    return LayerShapes([cell, cell])
