"""The schema against facts of Caffe 1.0, and its life in a private descriptor pool."""

import copy
import hashlib
import pickle
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2

from netgen import schema
from netgen.schema import caffe_pb
from netgen.schema.caffe_pb import DESCRIPTOR_SET
from netgen.schema.stub import stub

# Fields of each message, counted in the caffe.proto of BVLC 9b89154.
FIELD_COUNTS = {
    "AccuracyParameter": 3,
    "ArgMaxParameter": 3,
    "BatchNormParameter": 3,
    "BiasParameter": 3,
    "BlobProto": 9,
    "BlobProtoVector": 1,
    "BlobShape": 1,
    "ClipParameter": 2,
    "ConcatParameter": 2,
    "ContrastiveLossParameter": 2,
    "ConvolutionParameter": 18,
    "CropParameter": 2,
    "DataParameter": 10,
    "Datum": 7,
    "DropoutParameter": 1,
    "DummyDataParameter": 6,
    "ELUParameter": 1,
    "EltwiseParameter": 3,
    "EmbedParameter": 5,
    "ExpParameter": 3,
    "FillerParameter": 8,
    "FlattenParameter": 2,
    "HDF5DataParameter": 3,
    "HDF5OutputParameter": 1,
    "HingeLossParameter": 1,
    "ImageDataParameter": 12,
    "InfogainLossParameter": 2,
    "InnerProductParameter": 6,
    "InputParameter": 1,
    "LRNParameter": 6,
    "LayerParameter": 60,
    "LogParameter": 3,
    "LossParameter": 3,
    "MVNParameter": 3,
    "MemoryDataParameter": 4,
    "NetParameter": 9,
    "NetState": 3,
    "NetStateRule": 5,
    "PReLUParameter": 2,
    "ParamSpec": 4,
    "ParameterParameter": 1,
    "PoolingParameter": 13,
    "PowerParameter": 3,
    "PythonParameter": 4,
    "ReLUParameter": 2,
    "RecurrentParameter": 5,
    "ReductionParameter": 3,
    "ReshapeParameter": 3,
    "SPPParameter": 3,
    "ScaleParameter": 5,
    "SigmoidParameter": 1,
    "SliceParameter": 3,
    "SoftmaxParameter": 2,
    "SolverParameter": 42,
    "SolverState": 4,
    "SwishParameter": 1,
    "TanHParameter": 1,
    "ThresholdParameter": 1,
    "TileParameter": 2,
    "TransformationParameter": 7,
    "V0LayerParameter": 38,
    "V1LayerParameter": 43,
    "WindowDataParameter": 13,
}
# Enums that forks add to Caffe's own messages.
FORK_ENUMS = {
    ("BatchNormParameter", "Engine"),
    ("ConvolutionParameter", "CuDNNConvolutionAlgorithmSeeker"),
    ("DropoutParameter", "Engine"),
    ("ImageDataParameter", "LabelType"),
    ("InnerProductParameter", "Engine"),
}
# Values that forks add to Caffe's own enums.
FORK_VALUES = {
    "AVE_EXC_PAD",
    "AVE_TF",
    "CROP",
    "IMAGE_SEG_DATA",
    "INTERP",
    "MKL2017",
    "MKLDNN",
    "PRE_FIXED",
}
# SHA-256 over one line for each field and enum value, taken from the same caffe.proto.
FACTS = "fb74d9f949393d916b56c1408bc6f5d09aba032ab7a6845fe8192a73faf8518a"

# (message, field, number, default)
SAMPLES = [
    ("BlobShape", "dim", 1, []),
    ("BlobProto", "data", 5, []),
    ("BlobProto", "shape", 7, None),
    ("Datum", "float_data", 6, []),
    ("Datum", "encoded", 7, False),
    ("FillerParameter", "type", 1, "constant"),
    ("FillerParameter", "sparse", 7, -1),
    ("NetParameter", "layer", 100, None),
    ("NetParameter", "layers", 2, None),
    ("NetParameter", "input_shape", 8, None),
    ("SolverParameter", "net", 24, ""),
    ("SolverParameter", "base_lr", 5, 0.0),
    ("SolverParameter", "stepvalue", 34, []),
    ("SolverParameter", "random_seed", 20, -1),
    ("SolverParameter", "type", 40, "SGD"),
    ("SolverParameter", "solver_mode", 17, 1),
    ("SolverParameter", "snapshot_format", 37, 1),
    ("SolverParameter", "test_initialization", 32, True),
    ("SolverParameter", "clip_gradients", 35, -1.0),
    ("SolverParameter", "regularization_type", 29, "L2"),
    ("SolverParameter", "weights", 42, []),
    ("SolverState", "current_step", 4, 0),
    ("ParamSpec", "lr_mult", 3, 1.0),
    ("NetState", "phase", 1, 1),
    ("LayerParameter", "propagate_down", 11, []),
    ("LayerParameter", "transform_param", 100, None),
    ("LayerParameter", "convolution_param", 106, None),
    ("LayerParameter", "clip_param", 148, None),
    ("LossParameter", "normalization", 3, 1),
    ("AccuracyParameter", "top_k", 1, 1),
    ("ConvolutionParameter", "dilation", 18, []),
    ("ConvolutionParameter", "group", 5, 1),
    ("CropParameter", "axis", 1, 2),
    ("DataParameter", "backend", 8, 0),
    ("DataParameter", "prefetch", 10, 4),
    ("EltwiseParameter", "operation", 1, 1),
    ("HingeLossParameter", "norm", 1, 1),
    ("LRNParameter", "beta", 3, 0.75),
    ("PoolingParameter", "round_mode", 13, 0),
    ("ReductionParameter", "operation", 1, 1),
    ("ReshapeParameter", "num_axes", 3, -1),
    ("V1LayerParameter", "blob_share_mode", 1002, []),
    ("V0LayerParameter", "det_crop_mode", 59, "warp"),
]


def _file():
    return descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes()).file[0]


def _stock():
    """Caffe's own messages, each with its own fields: those with the smallest numbers."""
    for message in _file().message_type:
        if message.name in FIELD_COUNTS:
            yield message, message.field[: FIELD_COUNTS[message.name]]


def test_every_message_has_its_fields():
    assert {message.name for message, _ in _stock()} == set(FIELD_COUNTS)
    assert len(_file().message_type) == len(FIELD_COUNTS) + 54
    for message in _file().message_type:
        numbers = [field.number for field in message.field]
        if message.name != "V1LayerParameter":  # Caffe's own are not sorted
            assert numbers == sorted(numbers), message.name


def test_names_numbers_types_and_defaults_are_caffes():
    lines = []
    for message, fields in _stock():
        for f in fields:
            default = f.default_value if f.HasField("default_value") else "-"
            lines.append(
                f"{message.name}.{f.name} {f.number} {f.label} {f.type} {f.type_name} "
                f"{default} {f.options.packed}"
            )
        for enum in message.enum_type:
            if (message.name, enum.name) not in FORK_ENUMS:
                lines += _values(f"{message.name}.{enum.name}", enum)
    lines += _values("Phase", _file().enum_type[0])
    assert len(lines) == 534
    assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == FACTS


def _values(name, enum):
    return [f"{name}.{v.name} {v.number}" for v in enum.value if v.name not in FORK_VALUES]


def test_a_fork_field_has_ssds_number_or_a_private_one():
    ssd = {("LayerParameter", n) for n in range(200, 207)}
    ssd |= {("TransformationParameter", n) for n in range(8, 15)}
    ssd |= {("SolverState", 5), ("SolverState", 6)}
    for message, fields in _stock():
        for field in message.field[len(fields) :]:
            known = (message.name, field.number) in ssd
            assert known or field.number > 1000, (message.name, field.name)


@pytest.mark.parametrize(("message", "field", "number", "default"), SAMPLES)
def test_field(message, field, number, default):
    descriptor = getattr(caffe_pb, message).DESCRIPTOR.fields_by_name[field]
    assert descriptor.number == number
    if default is not None:
        value = getattr(getattr(caffe_pb, message)(), field)
        assert (list(value) if default == [] else value) == default


def test_enum_values_are_attributes():
    assert (caffe_pb.TRAIN, caffe_pb.TEST) == (0, 1)
    assert caffe_pb.Phase.Name(1) == "TEST"
    assert caffe_pb.PoolingParameter.AVE == 1
    assert caffe_pb.V1LayerParameter.ABSVAL == 35
    assert caffe_pb.ReductionParameter.MEAN == 4


def test_compiled_schema_is_fresh():
    from netgen.schema.compile import compile_schema

    fresh = descriptor_pb2.FileDescriptorSet.FromString(compile_schema())
    assert fresh.file[0] == _file(), "stale caffe.desc: run python netgen/schema/compile.py"


def test_the_type_stub_is_fresh():
    file_set = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTOR_SET.read_bytes())
    text = DESCRIPTOR_SET.with_name("caffe_pb.pyi").read_text()
    assert text == stub(file_set), "stale caffe_pb.pyi: run python netgen/schema/compile.py"
    declared = {line.split()[1].split("(")[0] for line in text.splitlines() if "(Message):" in line}
    assert declared == {message.name for message in _file().message_type}


def test_messages_can_be_pickled_and_copied():
    net = caffe_pb.NetParameter(name="a", layer=[{"name": "b"}])
    assert pickle.loads(pickle.dumps(net)) == copy.deepcopy(net) == net


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_another_caffe_proto_in_the_same_process(first):
    """A real pycaffe registers "caffe.proto" in protobuf's default pool."""
    ours = "from netgen.schema import caffe_pb"
    theirs = f"""
from google.protobuf import descriptor_pb2, descriptor_pool
files = descriptor_pb2.FileDescriptorSet.FromString(open({str(DESCRIPTOR_SET)!r}, "rb").read())
descriptor_pool.Default().AddSerializedFile(files.file[0].SerializeToString())"""
    check = """
theirs = descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")
assert theirs is not caffe_pb.NetParameter.DESCRIPTOR
print(caffe_pb.NetParameter(name="both").name)"""
    code = "\n".join([ours, theirs, check] if first == "ours" else [theirs, ours, check])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("both\n", "")


def test_public_names():
    for name in schema.__all__:
        assert getattr(schema, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'read_nets'"):
        schema.read_nets  # noqa: B018
