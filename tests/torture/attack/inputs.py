"""What the attacked commands read: a tiny data set, a net, solvers, a log, a measurement.

All of it is made from a fixed seed, most of it by the project's own commands.
"""

from __future__ import annotations

import gzip
import shutil
import struct
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from attack.starter import Command, Starter
from fabricated import Fabricated, pack
from tiny import DATA, LOSS, write_lmdbs

from netgen import schema
from netgen.schema import caffe_pb
from study.settings import SCALES

NET = (
    DATA
    + """\
layer {{
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param {{ lr_mult: 1 decay_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }}
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }}
}}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{
  name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param {{ num_output: 6 kernel_size: 3 weight_filler {{ type: "xavier" }} }}
}}
layer {{ name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }}
layer {{ name: "drop" type: "Dropout" bottom: "conv2" top: "conv2" }}
layer {{
  name: "ip" type: "InnerProduct" bottom: "conv2" top: "ip"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }}
}}
"""
    + LOSS
)

DEPLOY = """\
layer {{
  name: "data" type: "Input" top: "data"
  input_param {{ shape {{ dim: 1 dim: 2 dim: 6 dim: 6 }} }}
}}
{layers}
layer {{ name: "prob" type: "Softmax" bottom: "ip" top: "prob" }}
"""

SOLVER = """\
net: "{net}"
test_iter: 2
test_interval: 3
base_lr: 0.05
momentum: 0.9
weight_decay: 0.001
lr_policy: "fixed"
display: 1
average_loss: 2
max_iter: {iterations}
snapshot: {every}
snapshot_prefix: "{prefix}"
snapshot_format: {form}
random_seed: {seed}
solver_mode: CPU
"""

ITERATIONS = 8
MNIST = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
MNIST += ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Inputs:
    """A folder of inputs, made once; every path is absolute. Nothing in it is to be changed."""

    def __init__(self, folder: Path, starter: Starter) -> None:
        self.folder, self.starter = folder.resolve(), starter
        self.net = self.folder / "net.prototxt"
        self.snapshots = self.folder / "snapshots"
        self.log = self.folder / "train.log"
        self.tpm = self.folder / "tpm.json"
        self.plan = self.folder / "plan.json"
        self.mnist = self.folder / "idx"
        self.images = self.folder / "images"
        self.cifar = self.folder / "cifar-10-batches-py"
        self.cifar_archive = self.folder / "cifar-10-python.tar.gz"
        self.cifar_binary = self.folder / "cifar-10-batches-bin"
        self.prepared = self.folder / "prepared"
        self.preprocessing = self.folder / "preprocessing.npz"
        self.array = self.folder / "array.npy"
        self.study = self.folder / "study.json"
        self.classes = self.folder / "classes"
        self.deploy = self.folder / "deploy.prototxt"
        self.arrays = self.folder / "arrays.npz"
        self.onnx = self.folder / "deploy.onnx"
        self.safetensors = self.folder / "deploy.safetensors"
        self.weights = self.snapshots / f"s_iter_{ITERATIONS}.caffemodel"
        self.state = self.snapshots / f"s_iter_{ITERATIONS}.solverstate"

    def make(self) -> Inputs:
        """Write them all."""
        self.snapshots.mkdir(parents=True)
        write_lmdbs(self.folder)
        self.net.write_text(NET.format(folder=self.folder))
        self._write_mnist()
        self._write_images()
        self._write_cifar()
        self._write_preprocessing()
        self._write_other_sources()
        train = ("train", "-solver", str(self.solver("first")))
        trained = self._run("caffe", *train, folder=self.snapshots)
        self.log.write_text(trained)
        self._write_deployed()
        models = sorted(map(str, self.snapshots.glob("*.caffemodel")))
        self._run("netgen", "tpm", str(self.net), *models, "--json", str(self.tpm))
        schema.write_json(asdict(SCALES["small"]), self.study)
        words = ("--layers", "conv1", "-o", str(self.plan))
        self._run("netgen", "plan", str(self.tpm), *words)
        return self

    def solver(
        self,
        name: str,
        iterations: int = ITERATIONS,
        every: int = 1,
        form: str = "BINARYPROTO",
        seed: int = 3,
        prefix: str = "s",
        net: Path | None = None,
    ) -> Path:
        """The file of a solver of that name, written where it is not there."""
        path = self.folder / f"{name}.solver.prototxt"
        path.write_text(
            SOLVER.format(
                net=net or self.net,
                iterations=iterations,
                every=every,
                form=form,
                seed=seed,
                prefix=prefix,
            )
        )
        return path

    def _run(self, name: str, *words: str, folder: Path | None = None) -> str:
        command = Command(name, words, folder or self.folder)
        ended = self.starter.run(command, 600)
        if ended.status:
            raise RuntimeError(f"{command}: status {ended.status}: {ended.err}")
        return ended.err

    def _write_mnist(self) -> None:
        random = np.random.default_rng(3)
        self.mnist.mkdir()
        for index, name in enumerate(MNIST):
            count = 40 if index < 2 else 20
            shape = (count,) if index % 2 else (count, 28, 28)
            values = random.integers(0, 10 if index % 2 else 256, shape).astype(np.uint8)
            header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
            data = header + values.tobytes()
            if index % 2:
                (self.mnist / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))
            else:
                (self.mnist / name).write_bytes(data)

    def _write_images(self) -> None:
        from PIL import Image

        random = np.random.default_rng(4)
        self.images.mkdir()
        names = []
        for index in range(6):
            pixels = random.integers(0, 256, (32, 32, 3)).astype(np.uint8)
            name = f"{index}.{'png' if index % 2 else 'jpg'}"
            Image.fromarray(pixels).save(self.images / name)
            names.append(f"{name} {index % 3}\n")
        (self.folder / "images.txt").write_text("".join(names))
        for name in ("a", "b"):
            shutil.copytree(self.images, self.classes / name)

    def _write_deployed(self) -> None:
        """The trained net without data and loss, an input for it, and what export makes of it."""
        layers = NET.partition('layer {{\n  name: "conv1"')
        text = (layers[1] + layers[2]).removesuffix(LOSS).format(folder=self.folder)
        self.deploy.write_text(DEPLOY.format(layers=text))
        np.savez(self.arrays, data=np.random.default_rng(6).random((1, 2, 6, 6), np.float32))
        if find_spec("safetensors"):
            words = ("-model", str(self.deploy), "-weights", str(self.weights))
            self._run("caffe", "export", *words, "-o", str(self.safetensors))
        if find_spec("onnx"):
            self._write_onnx()

    def _write_onnx(self) -> None:
        """The same net as an ONNX model, its weights those of the caffemodel."""
        from onnx import TensorProto, helper, numpy_helper, save

        arrays = {
            f"{layer.name}.{index}": np.array(blob.data, np.float32).reshape(blob.shape.dim)
            for layer in net_of(self.weights).layer
            for index, blob in enumerate(layer.blobs)
        }
        node, value = helper.make_node, helper.make_tensor_value_info
        nodes = [
            node("Conv", ["data", "conv1.0", "conv1.1"], ["conv1"], "conv1", pads=[1] * 4),
            node("Relu", ["conv1"], ["relu1"], "relu1"),
            node("Conv", ["relu1", "conv2.0", "conv2.1"], ["conv2"], "conv2"),
            node("Relu", ["conv2"], ["relu2"], "relu2"),
            node("Flatten", ["relu2"], ["flat"], "flat"),
            node("Gemm", ["flat", "ip.0", "ip.1"], ["ip"], "ip", transB=1),
            node("Softmax", ["ip"], ["prob"], "prob", axis=1),
        ]
        graph = helper.make_graph(
            nodes,
            "deploy",
            [value("data", TensorProto.FLOAT, [1, 2, 6, 6])],
            [value("prob", TensorProto.FLOAT, [1, 3])],
            [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        )
        opset = [helper.make_opsetid("", 18)]
        save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(self.onnx))

    def _write_cifar(self) -> None:
        fabricated = Fabricated()
        pack(fabricated.write_python(self.cifar), self.cifar_archive)
        fabricated.write_binary(self.cifar_binary)
        words = ("--source", str(self.cifar), "--limit", "6", "--out", str(self.prepared))
        self._run("data_prep", "cifar10", "--raw", *words)
        np.save(self.array, fabricated.batches[0][0])

    def _write_preprocessing(self) -> None:
        """Constants of whitening that leave every image as it is, compressed from 75 MB."""
        whitened = self.folder / "whitened"
        words = ("--source", str(self.cifar), "--limit", "6", "--out", str(whitened))
        self._run("data_prep", "cifar10", *words)
        with np.load(whitened / "preprocessing.npz") as constants:
            kept = dict(constants)
        kept["zca"] = kept["zca_inverse"] = np.eye(3072, dtype=np.float32)
        np.savez_compressed(self.preprocessing, **kept)
        shutil.rmtree(whitened)

    def _write_other_sources(self) -> None:
        """An HDF5Data source, a LevelDB folder and a mean, of the same shapes as the LMDBs'."""
        random = np.random.default_rng(5)
        if find_spec("h5py"):
            import h5py

            with h5py.File(self.folder / "data.h5", "w") as file:
                file["data"] = random.random((6, 2, 6, 6), np.float32)
                file["label"] = random.integers(0, 3, 6).astype(np.float32)
        if find_spec("plyvel"):
            import plyvel

            with plyvel.DB(str(self.folder / "leveldb"), create_if_missing=True) as db:
                for index in range(8):
                    pixels = random.integers(0, 256, 128).astype(np.uint8).tobytes()
                    datum = caffe_pb.Datum(channels=2, height=8, width=8, data=pixels, label=1)
                    db.put(b"%08d" % index, datum.SerializeToString())
                db.compact_range()
        mean = caffe_pb.BlobProto(num=1, channels=2, height=8, width=8, data=[9.5] * 128)
        schema.write_bytes(mean.SerializeToString(), self.folder / "mean.binaryproto")


def net_of(path: Path) -> caffe_pb.NetParameter:
    """The weights of a caffemodel."""
    return schema.read_caffemodel(path)
