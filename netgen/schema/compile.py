"""Compile caffe.proto to caffe.desc: `python netgen/schema/compile.py` (needs grpcio-tools).

It runs as a script, outside the package: the package cannot be imported without the result.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

HERE = Path(__file__).parent


def compile_schema(proto=HERE / "caffe.proto"):
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
    (HERE / "caffe.desc").write_bytes(data)
    print(f"{HERE / 'caffe.desc'}: {len(data)} bytes", file=sys.stderr)
