"""`caffe export` to ONNX, of every layer type: it agrees with the engine, or says why it cannot.

The layers are the probes of cases/, and OTHERS of types that have none.
"""

import re
from collections import defaultdict

import numpy as np
import pytest
from harness.casefile import HERE
from harness.notation import layer_text
from harness.probes import Probe, read_probes

import runner
from netgen import schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner import Layer

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="the extra export is not installed")

import onnxruntime  # noqa: E402

OTHERS = """
AbsLoss : 2x3 2x3
Axpy : 2x3 2x3x4x5 2x3x4x5
BN PSPNet's: 2x3x4x5 | {frozen: true}
BN SegNet's: 2x3x4x5 | {bn_mode: INFERENCE}
BN of the batch: 2x3x4x5 | {bn_mode: LEARN}
ContinuationIndicator : | {time_step: 4 batch_size: 3}
ConvolutionDepthwise : 2x3x6x6 | convolution_param { num_output: 3 kernel_size: 3 }
DepthwiseConvolution : 2x3x6x6 | convolution_param { num_output: 3 group: 3 kernel_size: 3 }
Interp height, width: 2x3x5x6 | {height: 9 width: 4}
Interp zoom_factor: 2x3x5x6 | {zoom_factor: 3}
Interp shrink_factor: 2x3x5x7 | {shrink_factor: 2}
Interp cut: 2x3x5x6 | {zoom_factor: 2 pad_beg: -1 pad_end: -1}
Interp to one place: 2x3x5x6 | {height: 1 width: 1}
Interp like another: 2x3x5x6 2x1x7x8
Lstm : 6x5 | lstm_param { num_output: 4 batch_size: 2 weight_filler { type: "xavier" } }
Reorg : 2x4x4x6 | {stride: 2}
Reorg reverse: 2x4x4x6 | {stride: 2 reverse: true}
ChannelScale : 2x3x4x5 2x1x4x5
Flip : 2x3x4x5 | {flip_height: true}
DenseBlock TEST phase: 2x3x4x5 | phase: TEST denseblock_param { numTransition: 2 growthRate: 2 Filter_Filler { type: "xavier" } BN_Scaler_Filler { value: 1 } }
FlowWarp : 2x3x4x5 2x2x4x5
MaskPooling : 2x3x4x5 2x1x4x5
MaskResize : 2x3x4x5 | {output_height: 3 output_width: 4}
NdConvolution : 2x3x4x5x6 | convolution_param { num_output: 2 kernel_shape { dim: 3 dim: 3 dim: 3 } pad_shape { dim: 1 dim: 1 dim: 0 } weight_filler { type: "xavier" } }
NdPooling : 2x3x4x5x6 | pooling_param { kernel_shape { dim: 2 dim: 2 dim: 3 } stride_shape { dim: 2 dim: 2 dim: 1 } }
NdPooling AVE: 2x3x4x5x6 | pooling_param { pool: AVE kernel_shape { dim: 2 dim: 2 dim: 3 } }
Normalize of faces: 2x4x3x2 | normalize_param { normalize_type: "L1" }
Reverse : 2x4x4x6 | {axis: 1}
ShuffleChannel : 2x6x4x4 | {group: 3}
Transpose : 2x3x4x5 | {dim: 0 dim: 3 dim: 1 dim: 2}
"""
#: What the layer does to its first axis is for one size of it.
ONE_SIZE = re.compile(
    "LSTM |RNN |LSTMUnit |Lstm |Crop axis zero|Slice axis zero|InnerProduct axis zero"
)
#: Refused: only with this option, of those of its type.
REFUSED = {
    "BatchNorm use_global_stats false, TEST phase": "it normalizes with the batch's own statistics",
    "BN of the batch": "it normalizes with the batch's own statistics",
}
BATCH = 7  # no other axis of a probe is as long


def probes():
    """{layer type: its probes}."""
    found = defaultdict(list)
    for path in sorted([*HERE.glob("*.probes"), *HERE.glob("forks/*.probes")]):
        for probe in read_probes(path, path.stem):
            found[probe.kind].append(probe)
    for line in OTHERS.strip().splitlines():
        probe = Probe(line, "others")
        found[probe.kind].append(probe)
    return dict(found)


PROBES = probes()
KINDS = [kind for kind in PROBES if kind not in ("Input", "Parameter", "DummyData", "Silence")]


def always_refused(kind):
    """Why no net with such a layer is exported; "" where options decide, or nothing does."""
    layer = Layer.TYPES[kind]
    return layer.untraceable or ("it is for training" if layer.is_loss else "")


def net_of(*given, batch=None):
    """A net of the probes' layers, it0, it1, ..., with values of their kinds for inputs.

    batch: the size of all first axes that are as long as that of the probe's first bottom.
    """
    lines = []
    for number, probe in enumerate(given):
        first = probe.bottoms[0][0][:1] if probe.bottoms else ()
        bottoms = []
        for place, (shape, kind, _) in enumerate(probe.bottoms):
            name = f"in{number}_{place}"
            if batch and shape[:1] == first:
                shape = (batch, *shape[1:])
            dims = " ".join(f"dim: {size}" for size in shape)
            lines.append(f"{name} Input > {name} | {{shape {{ {dims} }}}}")
            if kind in ("positive", "unit"):  # as of a layer before: no random input is
                lines += [
                    f"{name}_abs AbsVal {name} > {name}_abs",
                    f"{name}_more Power {name}_abs > {name}_more | {{shift: 0.5}}",
                ]
                name += "_more"
            bottoms.append(name)
        tops = [f"out{number}_{place}" for place in range(probe.top_count)]
        body = re.sub(r"phase: \w+", "", probe.body)
        lines.append(f"it{number} {probe.kind} {' '.join(bottoms)} > {' '.join(tops)} | {body}")
    text = 'name: "n" ' + " ".join(map(layer_text, lines))
    return runner.Net(schema.parse_text(text, caffe_pb.NetParameter), seed=1)


def names_of(probe):
    return f"{probe.kind} {probe.option}"


def agrees(net, path, given):
    """Hold the file against the engine once more, with the batch that it was not traced with."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(5)
    values = {
        value.name: random.integers(0, 2, [2 if d == "batch" else d for d in value.shape])
        for value in session.get_inputs()
    }
    found = session.run(
        None, {name: np.asarray(value, np.float32) for name, value in values.items()}
    )
    wanted = net.forward(**values)
    for name, value in zip((output.name for output in session.get_outputs()), found, strict=True):
        option = given[int(re.match(r"out(\d+)", name)[1])].option
        assert value.shape == wanted[name].shape, option
        largest = max(np.abs(wanted[name]).max(initial=0), 1e-6)
        assert np.abs(value - wanted[name]).max(initial=0) < 1e-5 * largest, option


def exported():
    """{family: the probes that are exported for any batch}."""
    found = defaultdict(list)
    for kind in KINDS:
        for probe in PROBES[kind]:
            named = names_of(probe)
            if not (
                always_refused(kind)
                or named in REFUSED
                or ONE_SIZE.match(named)
                or probe.in_place  # the same layer once more, in a net that is only run forward
            ):
                found[probe.family].append(probe)
    return found


@pytest.mark.parametrize(("family", "given"), exported().items())
def test_agrees(family, given, tmp_path):
    net = net_of(*given, batch=BATCH)
    differences = runner.export(net, tmp_path / "net.onnx")
    assert differences.keys() == set(net.outputs)
    assert max(differences.values()) < 1e-5
    agrees(net, tmp_path / "net.onnx", given)


ONE_SIZED = {k: [p for p in PROBES[k] if ONE_SIZE.match(names_of(p))][-1:] for k in KINDS}


@pytest.mark.parametrize("probe", sum(ONE_SIZED.values(), []), ids=names_of)
def test_agrees_with_one_size_of_the_batch(probe, tmp_path):
    net = net_of(probe)
    with pytest.raises(CaffeError) as caught:
        runner.export(net, tmp_path / "net.onnx")
    assert re.fullmatch(
        r"(layer 'it0'.* (wants one size of the first axis|must hold one timestep .*)"
        r"|net 'n': torch.onnx cannot write it: its layers want one size of the first axis of .*)"
        r"; -batch N fixes its size",
        str(caught.value),
    )
    differences = runner.export(net, tmp_path / "net.onnx", batch=probe.bottoms[0][0][0])
    assert max(differences.values()) < 1e-5


def refused():
    """The first probe of each type that is always refused, and those with such an option."""
    for kind in KINDS:
        if why := always_refused(kind):
            yield PROBES[kind][0], why
        for probe in PROBES[kind]:
            if names_of(probe) in REFUSED:
                yield probe, REFUSED[names_of(probe)]


@pytest.mark.parametrize(
    ("probe", "why"), [pytest.param(*pair, id=names_of(pair[0])) for pair in refused()]
)
def test_refused_with_the_layers_name_and_why(probe, why, tmp_path):
    with pytest.raises(CaffeError) as caught:
        runner.export(net_of(probe), tmp_path / "net.onnx")
    assert str(caught.value) == (
        f"net 'n' cannot be exported with 'it0' ({probe.kind}: {why}): leave such layers out, and "
        "what they read are its outputs"
    )
    assert not list(tmp_path.iterdir())


def test_every_type_is_tried_or_always_refused():
    ours = {k: layer for k, layer in Layer.TYPES.items() if layer.__module__.startswith("runner.")}
    assert not [kind for kind in ours if kind not in PROBES and not always_refused(kind)]
