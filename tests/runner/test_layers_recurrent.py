import numpy as np
import pytest

from netgen.graph import NetError

RANDOM = np.random.default_rng(0)
T, N, K, D, S = 4, 2, 3, 2, 5  # time steps, streams, inputs, outputs, static inputs
X = RANDOM.normal(size=(T, N, K))
STATIC = RANDOM.normal(size=(N, S))
CONT = np.array([[0, 1], [1, 1], [1, 0], [1, 1]])
PARAM = (
    f"recurrent_param {{ num_output: {D} %s "
    'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" std: 0.5 } }'
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_cell(c, gates, cont):
    i, f, o, g = np.split(gates, 4, -1)
    c = cont[..., None] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def lstm(x, cont, blobs, h, c, static=None):
    """Outputs, and the last h and c. blobs: W_xc, b_c, perhaps W_xc_static, W_hc."""
    outputs = []
    for x_t, cont_t in zip(x, cont, strict=True):
        gates = x_t @ blobs[0].T + blobs[1] + (cont_t[:, None] * h) @ blobs[-1].T
        if static is not None:
            gates = gates + static @ blobs[2].T
        c, h = lstm_cell(c, gates, cont_t)
        outputs.append(h)
    return np.array(outputs), h, c


def rnn(x, cont, blobs, h, static=None):
    """Outputs and the last h. blobs: W_xh, b_h, perhaps W_xh_static, W_hh, W_ho, b_o."""
    w_hh, w_ho, b_o = blobs[-3:]
    outputs = []
    for x_t, cont_t in zip(x, cont, strict=True):
        inner = x_t @ blobs[0].T + blobs[1] + (cont_t[:, None] * h) @ w_hh.T
        if static is not None:
            inner = inner + static @ blobs[2].T
        h = np.tanh(inner)
        outputs.append(np.tanh(h @ w_ho.T + b_o))
    return np.array(outputs), h


MODELS = {"LSTM": (lstm, 2, 4 * D), "RNN": (rnn, 1, D)}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("with_static", [False, True])
def test_state_carries_over_from_batch_to_batch(one_layer, kind, with_static):
    model, count, rows = MODELS[kind]
    static = [STATIC] if with_static else []
    layer = one_layer(f'type: "{kind}" {PARAM % ""}', X, CONT, *static)
    shapes = [(rows, K), (rows,)] + [(rows, S)] * with_static + [(rows, D)]
    shapes += [(D, D), (D,)] * (kind == "RNN")
    assert [blob.shape for blob in layer.blobs] == shapes
    states = [np.zeros((N, D))] * count
    for _ in range(3):
        expected, *states = model(X, CONT, layer.blobs, *states, *static)
        np.testing.assert_allclose(layer.forward()[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("with_static", [False, True])
def test_gradients(one_layer, kind, with_static):
    static = [STATIC] if with_static else []
    # Every stream starts anew, so that a forward does not depend on the one before.
    cont = np.where(np.arange(T)[:, None] == 0, 0, CONT)
    layer = one_layer(f'type: "{kind}" {PARAM % ""}', X, cont, *static)
    layer.check_gradients(bottoms=(0, 2) if with_static else (0,))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("with_static", [False, True])
def test_exposed_states_come_and_go_as_blobs_without_gradients(one_layer, kind, with_static):
    model, count, _ = MODELS[kind]
    static = [STATIC] if with_static else []
    states = list(RANDOM.normal(size=(count, 1, N, D)))
    layer = one_layer(
        f'type: "{kind}" {PARAM % "expose_hidden: true"}',
        X,
        np.ones((T, N)),
        *static,
        *states,
        tops=1 + count,
    )
    expected, *last = model(X, np.ones((T, N)), layer.blobs, *(s[0] for s in states), *static)
    for _ in range(2):  # nothing is kept from one to the next
        top, *out = layer.forward()
        np.testing.assert_allclose(top, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(out, np.array(last)[:, None], rtol=1e-4, atol=1e-5)
    found = layer.gradients()
    assert all(found[2 + with_static + i] is None for i in range(count))


@pytest.mark.parametrize("kind", MODELS)
def test_the_state_can_be_saved_and_taken_back(one_layer, kind):
    text = f'type: "{kind}" {PARAM % ""}'
    layer = one_layer(text, X, CONT)
    assert layer.layer.state() is None and layer.net.state() == {}
    layer.forward()
    saved = layer.net.state()
    assert list(saved) == ["l"]
    expected = layer.forward()[0]
    other = one_layer(text, X, CONT).set_blobs(*layer.blobs)
    other.net.load_state(saved)
    np.testing.assert_array_equal(other.forward()[0], expected)


def test_weights_and_biases_have_their_own_fillers(one_layer):
    param = "num_output: 2 weight_filler { value: 2 } bias_filler { value: 3 }"
    for kind, biases in (("LSTM", {1}), ("RNN", {1, 4})):
        layer = one_layer(f'type: "{kind}" recurrent_param {{ {param} }}', X, CONT)
        for i, blob in enumerate(layer.blobs):
            np.testing.assert_array_equal(blob, np.full(blob.shape, 3 if i in biases else 2))


def test_inputs_of_more_axes_are_flattened(one_layer):
    layer = one_layer(f'type: "LSTM" {PARAM % ""}', X.reshape(T, N, K, 1), CONT)
    flat = one_layer(f'type: "LSTM" {PARAM % ""}', X, CONT).set_blobs(*layer.blobs)
    np.testing.assert_array_equal(layer.forward()[0], flat.forward()[0])


def test_lstm_unit(one_layer):
    c, gates = RANDOM.normal(size=(1, N, D)), RANDOM.normal(size=(1, N, 4 * D))
    cont = np.array([[0, 1]])
    layer = one_layer('type: "LSTMUnit"', c, gates, cont, tops=2)
    expected = lstm_cell(c, gates, cont)
    for top, value in zip(layer.forward(), expected, strict=True):
        np.testing.assert_allclose(top, value, rtol=1e-5)
    layer.check_gradients(bottoms=(0, 1))
    assert not layer.gradients()[0][0, 0].any()  # where the sequence starts


@pytest.mark.parametrize(
    "bottoms, words",
    [
        ((X[0, 0], CONT), "bottom.0. must have at least 2 axes"),
        ((X, CONT[0]), "bottom.1. must have exactly 2 axes"),
        ((X, CONT[:2]), "differ in #timesteps"),
        ((X, CONT, STATIC[:1]), "differ in #streams"),
        ((X,), "LSTM Layer takes at least 2 bottom"),
    ],
)
def test_what_does_not_fit(one_layer, bottoms, words):
    with pytest.raises(NetError, match=f"layer 'l': .*{words}"):
        one_layer(f'type: "LSTM" {PARAM % ""}', *bottoms)


def test_indicators_get_no_gradient(build):
    net = """
      layer { name: "in" type: "Input" top: "x" top: "a"
              input_param { shape { dim: 2 dim: 1 dim: 3 } shape { dim: 2 dim: 1 } } }
      layer { name: "ip" type: "InnerProduct" bottom: "a" top: "cont"
              inner_product_param { num_output: 1 } }
      layer { name: "l" type: "LSTM" bottom: "x" bottom: "cont" top: "y" loss_weight: 1
              recurrent_param { num_output: 2 } }"""
    with pytest.raises(NetError, match="layer 'l': LSTM Layer cannot backpropagate to bottom 1"):
        build(net)


def test_carried_states_are_outside_the_graph(one_layer):
    layer = one_layer(f'type: "LSTM" {PARAM % ""} loss_weight: 1', X, np.ones((T, N)))
    for _ in range(2):  # a second backward must not reach into the first batch
        layer.net.parameters.grad.zero_()
        layer.net.forward_backward()
        assert layer.net.parameters.grad.any()
        assert not any(state.requires_grad for state in layer.layer.carried)
