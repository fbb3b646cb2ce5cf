"""Compile caffe.proto to caffe.desc, and to caffe_pb.pyi for type checkers.

`python netgen/schema/compile.py` (needs grpcio-tools). It imports nothing of the package that
cannot be imported without the result.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

from netgen.schema.stub import stub

HERE = Path(__file__).parent


def compile_schema(proto: Path = HERE / "caffe.proto") -> bytes:
    """The bytes of the FileDescriptorSet of a .proto file.

    JSON names, which protoc derives from the field names, are left out: they double the
    size, and nothing here reads them. Raises RuntimeError where protoc refuses the file.
    """
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "caffe.desc"
        args = ["protoc", f"-I{proto.parent}", f"--descriptor_set_out={out}", proto.name]
        if protoc.main(args) != 0:
            raise RuntimeError(f"protoc refuses {proto}")
        file_set = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    for file in file_set.file:
        for message in file.message_type:
            for field in message.field:
                field.ClearField("json_name")
    return file_set.SerializeToString(deterministic=True)


if __name__ == "__main__":
    data = compile_schema()
    text = stub(descriptor_pb2.FileDescriptorSet.FromString(data))
    for path, content in ((HERE / "caffe.desc", data), (HERE / "caffe_pb.pyi", text.encode())):
        path.write_bytes(content)
        print(f"{path}: {len(content)} bytes", file=sys.stderr)
