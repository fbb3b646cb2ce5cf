"""Random layers for the fuzzer: for every type a function that draws its line and options.

A function gets a Maker, which draws numbers and choices (hypothesis, so that finds shrink) and
picks bottoms among the blobs there are; it returns (type, bottoms, number of tops, options) or
None where no blob suits. Whether the shapes fit is the graph's business: what it refuses is
drawn again.
"""

import math

MAKERS = {}


def make(*kinds):
    """Register a function for layer types."""

    def register(function):
        for kind in kinds:
            MAKERS[kind] = lambda m, kind=kind: function(m, kind)
        return function

    return register


# --- neurons ---


@make("AbsVal", "BNLL", "Sigmoid", "TanH", "Softmax", "Split", "Flatten")
def plain(m, kind):
    return kind, [m.blob()], m.integer(1, 3) if kind == "Split" else 1, ""


@make("ReLU", "ELU", "PReLU", "Swish", "Power", "Exp", "Clip", "Dropout")
def neuron(m, kind):
    options = {
        "ReLU": lambda: m.some(f"negative_slope: {m.pick(0.1, -0.5, 1)}"),
        "ELU": lambda: m.some(f"alpha: {m.pick(0.3, 2, 0)}"),
        "PReLU": lambda: m.some("channel_shared: true") + m.some("filler { value: 0.4 }"),
        "Swish": lambda: m.some(f"beta: {m.pick(0.5, 1.7, -1)}"),
        "Power": lambda: (
            f"power: {m.pick(1, 2, 3, 0)} scale: {m.pick(0.5, 1, -0.7, 0)} "
            f"shift: {m.pick(0, 0.5, -1)}"
        ),
        "Exp": lambda: (
            m.some(f"base: {m.pick(2, 0.5, 3)}")
            + f"scale: {m.pick(0.3, -0.2)} "
            + m.some("shift: -0.4")
        ),
        "Clip": lambda: f"min: {m.pick(-1, -0.3, 0)} max: {m.pick(0.4, 1, 2)}",
        "Dropout": lambda: "dropout_ratio: 0",
    }
    return kind, [m.blob()], 1, options[kind]()


@make("Log")
def logarithm(m, kind):
    return (
        kind,
        [m.line("Sigmoid", [m.blob()])],
        1,
        (m.some(f"base: {m.pick(2, 10)}") + m.some("shift: 0.5") + m.some("scale: 2")),
    )


@make("Threshold", "ArgMax")
def without_gradient(m, kind):
    if kind == "Threshold":
        return kind, ["data"], 1, f"threshold: {m.pick(0, 0.25)}"
    axis = m.some(f"axis: {m.pick(1, -1, 2)}")
    return kind, [m.blob()], 1, axis + m.some("top_k: 2") + m.some("out_max_val: true")


# --- what learns ---


def _window(m, dilation=True):
    """Kernel, stride, pad and perhaps dilation, of two spatial axes."""
    if m.chance(4):
        text = f"kernel_h: {m.integer(1, 3)} kernel_w: {m.integer(1, 3)} "
        text += m.some(f"stride_h: {m.integer(1, 2)} stride_w: {m.integer(1, 3)} ")
        text += m.some(f"pad_h: {m.integer(0, 2)} pad_w: {m.integer(0, 1)} ")
    else:
        text = f"kernel_size: {m.integer(1, 4)} "
        text += m.some(f"stride: {m.integer(1, 3)} ") + m.some(f"pad: {m.integer(0, 2)} ")
    return text + (m.some(f"dilation: {m.integer(1, 2)} ") if dilation else "")


@make("Convolution", "Deconvolution")
def convolution(m, kind):
    blob = m.blob(axes=(3, 4, 5))
    if blob is None:
        return None
    group = m.pick(1, 1, 1, 2, 3)
    text = f"num_output: {group * m.integer(1, 2)} " + (f"group: {group} " if group > 1 else "")
    window = f"kernel_size: {m.integer(1, 2)} " if len(m.shape(blob)) != 4 else _window(m)
    text += window + m.some("bias_term: false ", 4) + m.some("force_nd_im2col: true ", 8)
    twin = m.like(blob) if m.chance(6) else None
    return kind, [blob] + ([twin] if twin else []), 2 if twin else 1, text


@make("Im2col")
def im2col(m, kind):
    blob = m.blob(axes=(4,))
    return blob and (kind, [blob], 1, _window(m))


@make("InnerProduct")
def inner_product(m, kind):
    text = f"num_output: {m.integer(1, 5)} " + m.some(f"axis: {m.pick(1, 2, -1)} ", 3)
    return kind, [m.blob()], 1, text + m.some("transpose: true ", 3) + m.some("bias_term: false ")


@make("Embed")
def embed(m, kind):
    return (
        kind,
        ["label"],
        1,
        f"num_output: {m.integer(1, 4)} input_dim: 5 " + m.some("bias_term: false"),
    )


@make("Scale", "Bias")
def scale(m, kind):
    blob = m.blob()
    text = m.some("bias_term: true ") if kind == "Scale" else ""
    if m.chance(3):
        shape = m.shape(blob)
        first = m.integer(0, max(0, len(shape) - 1))
        last = m.integer(first, len(shape))
        other = m.matching(shape[first:last])
        if other:
            return kind, [blob, other], 1, f"axis: {first} " + text
    return (
        kind,
        [blob],
        1,
        text + m.some(f"axis: {m.pick(1, 2, -1)} ") + m.some(f"num_axes: {m.pick(0, 1, 2, -1)} "),
    )


@make("Parameter")
def parameter(m, kind):
    dims = " ".join(f"dim: {d}" for d in m.shape(m.blob()))
    return kind, [], 1, f"shape {{ {dims} }}"


@make("LSTM", "RNN")
def recurrent(m, kind):
    blob = m.blob(axes=(3, 4))
    if blob is None:
        return None
    steps, streams = m.shape(blob)[:2]
    dims = f"shape {{ dim: {steps} dim: {streams} }} data_filler {{ value: {m.pick(1, 0)} }}"
    return kind, [blob, m.line("DummyData", [], dims)], 1, f"num_output: {m.integer(1, 3)}"


# --- normalization and pooling ---


@make("BatchNorm", "MVN")
def normalizing(m, kind):
    """Of values that differ, and of four or more: of others they make rounding errors."""
    blob = m.blob()
    shape, together = m.shape(blob), kind == "MVN" and m.chance(3)
    apart = math.prod(shape[1:2] if kind == "BatchNorm" else shape[: 1 if together else 2])
    if blob in m.flat or math.prod(shape) < 4 * apart:
        return None
    if kind == "BatchNorm":
        return kind, [blob], 1, m.some("moving_average_fraction: 0.9", 4)
    return (
        kind,
        [blob],
        1,
        "across_channels: true " * together + m.some("normalize_variance: false", 4),
    )


@make("LRN")
def lrn(m, kind):
    blob = m.blob(axes=(4,))
    text = f"local_size: {m.pick(1, 3, 5)} alpha: {m.pick(0.5, 1, 0.01)} beta: {m.pick(0.75, 0.5)} "
    return blob and (
        kind,
        [blob],
        1,
        text + m.some("k: 2 ") + m.some("norm_region: WITHIN_CHANNEL"),
    )


@make("Pooling")
def pooling(m, kind):
    blob = m.blob(axes=(4,))
    if blob is None:
        return None
    text = m.pick("pool: MAX ", "pool: AVE ")
    tops = 2 if "MAX" in text and m.chance(6) else 1
    if m.chance(5):
        return kind, [blob], tops, text + "global_pooling: true"
    return kind, [blob], tops, text + _window(m, False) + m.some("round_mode: FLOOR", 3)


@make("SPP")
def spp(m, kind):
    blob = m.blob(axes=(4,))
    text = f"pyramid_height: {m.integer(1, 2)} " + m.some("pool: AVE")
    return blob and (kind, [blob], 1, text)


# --- shapes ---


@make("Concat")
def concat(m, kind):
    blob = m.blob()
    return (
        kind,
        [blob] + [m.like(blob) for _ in range(m.integer(0, 2))],
        1,
        m.some(f"axis: {m.pick(0, 1, 2, -1)}"),
    )


@make("Eltwise")
def eltwise(m, kind):
    blob = m.blob()
    bottoms = [blob] + [m.like(blob) for _ in range(m.integer(1, 2))]
    text = m.pick("", "operation: MAX", "operation: PROD", "operation: SUM")
    if text in ("", "operation: SUM") and m.chance(2):
        text += " " + " ".join(f"coeff: {m.pick(1, -1, 0.5, 0)}" for _ in bottoms)
    return kind, bottoms, 1, text


@make("Slice")
def slices(m, kind):
    blob = m.blob()
    axis = m.integer(0, len(m.shape(blob)) - 1)
    size = m.shape(blob)[axis]
    tops = m.integer(1, 3)
    text = f"axis: {axis} "
    if tops > 1 and (size % tops or m.chance(2)):
        points = sorted({m.integer(1, max(1, size - 1)) for _ in range(tops - 1)})
        tops = len(points) + 1
        text += " ".join(f"slice_point: {point}" for point in points)
    return kind, [blob], tops, text


@make("Reshape")
def reshape(m, kind):
    dims = m.pick("dim: 0 dim: -1", "dim: -1", "dim: 0 dim: 0 dim: -1", "dim: -1 dim: 1")
    return (
        kind,
        [m.blob()],
        1,
        f"shape {{ {dims} }} "
        + m.some(f"axis: {m.pick(0, 1, -1, -2)} ")
        + m.some(f"num_axes: {m.pick(0, 1, 2)}", 3),
    )


@make("Tile")
def tile(m, kind):
    return kind, [m.blob()], 1, f"axis: {m.pick(0, 1, -1)} tiles: {m.integer(1, 3)}"


@make("Reduction")
def reduction(m, kind):
    text = m.pick("", "operation: ASUM ", "operation: SUMSQ ", "operation: MEAN ")
    return kind, [m.blob()], 1, text + m.some(f"axis: {m.pick(1, -1, 2)} ") + m.some("coeff: 0.3")


@make("Crop")
def crop(m, kind):
    blob, other = m.blob(axes=(4,)), m.blob(axes=(4,))
    return blob and (
        kind,
        [blob, other],
        1,
        m.some(f"axis: {m.pick(2, 3, 1)} ") + m.some(f"offset: {m.integer(0, 2)}"),
    )


@make("BatchReindex")
def batch_reindex(m, kind):
    value = m.integer(0, 1)
    index = f"shape {{ dim: {m.integer(1, 4)} }} data_filler {{ value: {value} }}"
    return kind, [m.blob(), m.line("DummyData", [], index)], 1, ""


@make("Silence")
def silence(m, kind):
    return kind, [m.blob()], 0, ""
