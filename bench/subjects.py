"""The nets that are measured, each with the kind of records that it reads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import runner
from data_prep import Dataset, Options, build_dataset, read_lmdb
from netgen import nets, schema, solvers
from netgen.schema import caffe_pb

CLASSES = 10
RECORDS = 2048


@dataclass(frozen=True)
class Kind:
    """Random records of one form, and what a net makes of them.

    lmdb: the word before _train_lmdb. shape: of an image. options: of data_prep. crop, mirror,
    scale: as in transform_param; with mean, the mean image is subtracted first.
    """

    lmdb: str
    shape: tuple
    options: Options
    crop: int | None = None
    mirror: bool = False
    scale: float = 1
    mean: bool = False


KINDS = {
    # GCN without ZCA: the same bytes to read, and no eigenvectors to wait for.
    "whitened": Kind("cifar10", (3, 32, 32), Options(5, 55.0, None), 32, True),
    "pixels": Kind("cifar10", (3, 32, 32), Options(0, None, None), mean=True),
    "padded": Kind("cifar10", (3, 32, 32), Options(4, None, None), 32, True, mean=True),
    "digits": Kind("mnist", (1, 28, 28), Options(0, None, None), scale=1 / 256),
}
SUBJECTS = {
    "allcnn-c": "whitened",
    "msplit1": "whitened",
    "msplit2": "whitened",
    "lenet": "digits",
    "cifar10_full": "pixels",
    "resnet20": "padded",
}


def write_records(folder, kind, count=RECORDS):
    """The folder of LMDBs of a KIND, made by data_prep, and of images.npy and labels.npy.

    The arrays are the training records in memory, scaled and centred, for the hand-written loop.
    """
    form, folder = KINDS[kind], Path(folder) / f"{kind}{count}"
    if folder.exists():
        return folder
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, int(np.prod(form.shape))), np.uint8)
    labels = random.integers(0, CLASSES, count, np.uint8)
    dataset = Dataset(
        "random", images, labels, images[:100], labels[:100], image_shape=form.shape, lmdb=form.lmdb
    )
    build_dataset("random", lambda: dataset, form.options, folder)
    images, labels = read_records(folder / f"{form.lmdb}_train_lmdb")
    if form.mean:
        images -= schema.blob_to_array(schema.read_blob(folder / "mean.binaryproto"))
    np.save(folder / "images.npy", images * np.float32(form.scale))
    np.save(folder / "labels.npy", labels)
    return folder


def read_records(lmdb):
    """(images (N, C, H, W) float32, labels (N,)) of an LMDB of Datums of one shape."""
    images, labels = [], []
    for _, value in read_lmdb(lmdb):
        datum = caffe_pb.Datum.FromString(value)
        values = np.frombuffer(datum.data, np.uint8) if datum.data else datum.float_data
        images.append(
            np.asarray(values, np.float32).reshape(datum.channels, datum.height, datum.width)
        )
        labels.append(datum.label)
    return np.stack(images), np.array(labels)


def write_solver(
    folder, name, display=100, max_iter=10**6, make=nets.build_net, tests=False, **options
):
    """The path of the solver of net `name` on the records in `folder`; no snapshots.

    make(name, NetOptions) builds the net; options: of NetOptions; tests: with its test net.
    """
    net = make(name, nets.NetOptions(data=str(folder), **options))
    path = Path(folder) / f"{name}-{len(list(Path(folder).iterdir()))}.prototxt"
    schema.write_text(net, path)
    known = name if name in nets.NETS else "resnet20"
    param = solvers.build_solver(
        known,
        solvers.SolverOptions(
            max_iter=max_iter,
            net=str(path),
            display=display,
            snapshot=0,
            random_seed=1,
            prefix=str(Path(folder) / name),
        ),
    )
    param.snapshot_after_train = False
    if not tests:
        param.ClearField("test_iter")
        param.ClearField("test_interval")
    solver = path.with_suffix(".solver.prototxt")
    schema.write_text(param, solver)
    return solver


def our_solver(path, device="cpu", precision="fp32", seed=None, recorded=True):
    """The engine's Solver that `caffe train -solver PATH` makes; seed: instead of the file's."""
    param = schema.read_solver(path)
    if seed is not None:
        param.random_seed = seed
    solver = runner.Solver(param, device=device, precision=precision, recorded=recorded, log=True)
    return solver.engine


def hand_loop(name, folder, batch, module, **options):
    """The hand-written Loop of a net on the arrays of `folder`."""
    from bench.hand_written import Loop

    form = KINDS[SUBJECTS[name]]
    images, labels = (np.load(Path(folder) / f"{part}.npy") for part in ("images", "labels"))
    return Loop(module, images, labels, batch, form.crop, form.mirror, **options)


def batch_size(solver_path):
    """Images of a training batch of a solver's net."""
    net = schema.read_net(schema.read_solver(solver_path).net)
    return next(layer.data_param.batch_size for layer in net.layer if layer.type == "Data")
