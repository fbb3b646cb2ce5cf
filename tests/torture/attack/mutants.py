"""Damaged inputs of every kind of file, from a seed, given to the commands that read them.

A batch of them is read in one fork of the starter's kind, one after the other, which takes
milliseconds each; the parent sees which of them it was that crashed, hung or raised. The first of
every batch is read once more by the command line, as a process of its own.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from attack import commands
from attack.inputs import Inputs
from attack.starter import Command, Ended, Running, become, finish
from attack.trial import Place, Trial, one_line
from mutations import mutants

from netgen.commandline import INTERRUPTED

BATCH = 40  # inputs a trial
SLOW = 600.0  # seconds after which an input hangs; 20,000 layers take 40 where nothing else runs
TRAINS = 20.0  # seconds after which a training that still displays iterations is asked to stop
STOPS = 120.0  # seconds that it may take to write its snapshot
OWN_PROCESS = 10  # one trial in so many repeats an input as a command line


@dataclass(frozen=True)
class Reader:
    """A file, and a command that reads it where its damaged form lies.

    words: of the command, `{}` for the damaged file, `{folder}` for its folder, `{top}` for the
    uppermost, where whatever is called out* is removed before the next. name: of the file as it is
    damaged. with_it: files copied beside it, and folders copied into the uppermost.
    """

    title: str
    source: Path
    command: str
    words: tuple[str, ...]
    name: str = ""
    with_it: tuple[Path, ...] = ()
    net: str = ""

    def place(self, folder: Path, data: bytes) -> tuple[str, ...]:
        """Write the damaged file into `folder`; returns the command's words."""
        for left in folder.rglob("out*"):  # a command may refuse to write where it has written
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
        path = folder / (self.name or self.source.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return tuple(w.format(path, folder=path.parent, top=folder) for w in self.words)


def readers(inputs: Inputs) -> list[Reader]:
    """All kinds of input that a command reads."""
    snapshots, net, solver = inputs.snapshots, str(inputs.net), str(inputs.solver("short"))
    state, hdf5 = inputs.state, inputs.folder / "hdf5"
    short = str(inputs.solver("shorter", iterations=9, every=0))
    short_h5 = str(inputs.solver("shorter5", iterations=9, every=0, form="HDF5"))
    train = ("train", "-solver", short)
    resume = (*train, "-snapshot", "{folder}/" + state.name)
    model5 = hdf5 / "s_iter_8.caffemodel.h5"
    state5 = hdf5 / "s_iter_8.solverstate.h5"
    mnist = tuple(path for path in inputs.mnist.iterdir())
    tpm, plan, weights = str(inputs.tpm), str(inputs.plan), str(inputs.weights)
    database = inputs.folder / "train_lmdb" / "data.mdb"
    describe = ("describe", "{}")
    parts = (f"{state.name}.resume", state.name, inputs.weights.name)
    around = tuple(snapshots / name for name in parts)
    return [
        Reader("net prototxt", inputs.net, "netgen", describe),
        Reader(
            "net prototxt, run",
            inputs.net,
            "caffe",
            ("test", "-model", "{}", "-weights", weights, "-iterations", "1"),
        ),
        Reader("solver prototxt", Path(solver), "caffe", ("train", "-solver", "{}")),
        Reader("caffemodel", inputs.weights, "caffe", (*train, "-weights", "{}")),
        Reader(
            "caffemodel, transfer",
            inputs.weights,
            "netgen",
            ("transfer", net, "{}", "--plan", plan, "-o", "{folder}/out.caffemodel"),
        ),
        Reader("solverstate", state, "caffe", resume, with_it=around),
        Reader("resume", Path(f"{state}.resume"), "caffe", resume, with_it=around),
        Reader("caffemodel.h5", model5, "caffe", (*train, "-weights", "{}")),
        Reader(
            "solverstate.h5",
            state5,
            "caffe",
            ("train", "-solver", short_h5, "-snapshot", "{}"),
            with_it=(model5, state5),
        ),
        Reader(
            "LMDB",
            database,
            "netgen",
            ("describe", "{folder}/../net.prototxt"),
            "train_lmdb/data.mdb",
        ),
        Reader(
            "LMDB, run",
            database,
            "caffe",
            ("train", "-solver", "{folder}/../solver.prototxt"),
            "train_lmdb/data.mdb",
        ),
        Reader("log, parse_log", inputs.log, "parse_log", ("{}", "{folder}/out/")),
        Reader("log, parse_log --json", inputs.log, "parse_log", ("{}", "--json")),
        Reader("log, best_accuracy", inputs.log, "best_accuracy", ("{}",)),
        Reader(
            "log, plot_loss",
            inputs.log,
            "plot_loss",
            ("{}", "--no_refresh", "-o", "{folder}/out.png"),
        ),
        Reader(
            "log, plot_loss --chain",
            inputs.log,
            "plot_loss",
            ("{}", str(inputs.log), "--chain", "--no_refresh", "-o", "{folder}/out.png"),
        ),
        *(
            [
                Reader(
                    "log, tensorboard_log",
                    inputs.log,
                    "tensorboard_log",
                    ("{}", "-o", "{folder}/out"),
                )
            ]
            if find_spec("tensorboard")
            else []
        ),
        Reader("TPM", inputs.tpm, "netgen", ("plan", "{}", "--layers", "conv1")),
        Reader("TPM, plot_tpm", inputs.tpm, "plot_tpm", ("{}", "-o", "{folder}/out.png")),
        Reader("plan", inputs.plan, "netgen", ("split", net, "--plan", "{}")),
        Reader(
            "plan, plot_tpm",
            inputs.plan,
            "plot_tpm",
            (tpm, "--plan", "{}", "-o", "{folder}/out.png"),
        ),
        Reader("net prototxt, draw_net", inputs.net, "draw_net", ("{}", "-o", "{folder}/out.dot")),
        *(
            Reader(
                f"MNIST {name}",
                path,
                "data_prep",
                ("mnist", "--source", "{folder}", "--out", "{folder}/out"),
                with_it=mnist,
            )
            for path in mnist
            for name in [path.name]
        ),
        *_data_sets(inputs),
        *_sources(inputs),
        *_classified(inputs),
        *_deployed(inputs),
        *_pictures(inputs),
        *(
            Reader(f"{title}, {program}", path, program, ("{}", "{folder}/out"))
            for title, path, program in (
                ("net prototxt", inputs.net, "upgrade_net_proto_text"),
                ("caffemodel", inputs.weights, "upgrade_net_proto_binary"),
                ("solver prototxt", Path(solver), "upgrade_solver_proto_text"),
            )
        ),
        Reader(
            "caffemodel, extract_features",
            inputs.weights,
            "extract_features",
            ("{}", net, "data", "{folder}/out", "1", "lmdb"),
        ),
        Reader("caffemodel, verify", inputs.weights, "caffe", ("verify", "{}"), with_it=around),
        Reader("LMDB, verify", database, "caffe", ("verify", "{folder}"), "train_lmdb/data.mdb"),
        Reader("study.json", inputs.study, "study", ("--out", "{folder}", "--list")),
    ]


def _data_sets(inputs: Inputs) -> list[Reader]:
    """What data_prep reads: the official CIFAR-10s, finished folders, pictures and arrays."""
    prepare = ("cifar10", "--raw", "--out", "{folder}/out", "--source")
    batches = tuple(sorted(inputs.cifar.iterdir()))
    binary = tuple(sorted(inputs.cifar_binary.iterdir()))
    finished = tuple(sorted(path for path in inputs.prepared.iterdir()))
    apply = ("apply", str(inputs.preprocessing), "{}", "-o", "{folder}/out.npy")
    return [
        Reader("CIFAR-10 archive", inputs.cifar_archive, "data_prep", (*prepare, "{}")),
        *(
            Reader(f"CIFAR-10 {kind}", path, "data_prep", (*prepare, "{folder}"), with_it=whole)
            for kind, path, whole in (
                ("pickle", batches[1], batches),
                ("names", batches[0], batches),
                ("binary", binary[1], binary),
            )
        ),
        Reader(
            "manifest.json",
            inputs.prepared / "manifest.json",
            "data_prep",
            ("verify", "{folder}"),
            with_it=finished,
        ),
        Reader(
            "preprocessing.npz",
            inputs.preprocessing,
            "data_prep",
            ("apply", "{}", str(inputs.images / "1.png"), "-o", "{folder}/out.npy"),
        ),
        Reader("JPEG, apply", inputs.images / "0.jpg", "data_prep", apply),
        Reader("PNG, apply", inputs.images / "1.png", "data_prep", apply),
        Reader(".npy, apply", inputs.array, "data_prep", apply),
    ]


def _sources(inputs: Inputs) -> list[Reader]:
    """What a net's data layers read beside LMDBs."""
    run = ("test", "-model", "{top}/net.prototxt", "-iterations", "4")
    images, leveldb = inputs.images, tuple(sorted((inputs.folder / "leveldb").iterdir()))
    listed = inputs.folder / "images.txt"
    pictures = tuple(sorted(images.iterdir()))
    image_net = _IMAGES.replace("{root}", f"{images}/")
    here = _IMAGES.replace("{root}", "{folder}/")
    mean = _MEAN.replace("{lmdb}", str(inputs.folder / "test_lmdb"))
    return [
        Reader("JPEG, ImageData", images / "0.jpg", "caffe", run, "", (*pictures, listed), here),
        Reader("PNG, ImageData", images / "1.png", "caffe", run, "", (*pictures, listed), here),
        Reader("list of ImageData", listed, "caffe", run, net=image_net),
        Reader("mean file", inputs.folder / "mean.binaryproto", "caffe", run, net=mean),
        *(
            Reader(
                f"LevelDB {path.suffix or path.name.partition('-')[0]}",
                path,
                "caffe",
                run,
                f"db/{path.name}",
                leveldb,
                _LEVELDB,
            )
            for path in leveldb
            if path.stat().st_size and path.name != "LOG"
        ),
        *(
            Reader("HDF5Data", path, "caffe", run, net=_HDF5)
            for path in inputs.folder.glob("data.h5")
        ),
    ]


def _classified(inputs: Inputs) -> list[Reader]:
    """What `caffe classify` reads."""
    words = ("classify", "-model", "{top}/net.prototxt", "-weights", str(inputs.weights))
    picture = str(inputs.images / "1.png")
    files = {
        "JPEG": (inputs.images / "0.jpg", ("{}",)),
        "PNG": (inputs.images / "1.png", ("{}",)),
        "preprocessing.npz": (inputs.preprocessing, ("-preprocessing", "{}", picture)),
        "net prototxt": (inputs.net, ("-transform", "{}", picture)),
        "labels": (inputs.log, ("-labels", "{}", picture)),
    }
    return [
        Reader(f"{title}, classify", path, "caffe", (*words, *more), net=_DEPLOY)
        for title, (path, more) in files.items()
    ]


def _deployed(inputs: Inputs) -> list[Reader]:
    """What nets without data and loss are made into, made from, and run on."""
    deploy, weights = str(inputs.deploy), str(inputs.weights)
    export = ("-o", "{folder}/out.safetensors")
    forward = ("-inputs", str(inputs.arrays), "-outputs", "{folder}/out.npz")
    found = [
        Reader(
            f"{title}, {name}",
            path,
            "caffe",
            (name, "-model", model, "-weights", model_weights, *words),
        )
        for title, path, name, model, model_weights, words in (
            ("caffemodel", inputs.weights, "export", deploy, "{}", export),
            ("net prototxt", inputs.deploy, "export", "{}", weights, export),
            ("net prototxt", inputs.deploy, "forward", "{}", weights, forward),
            ("npz", inputs.arrays, "forward", deploy, weights, ("-inputs", "{}", *forward[2:])),
        )
    ]
    if inputs.safetensors.exists():
        words = ("-model", deploy, "-weights", "{}", *forward)
        found.append(Reader("safetensors", inputs.safetensors, "caffe", ("forward", *words)))
    if inputs.onnx.exists():
        words = (
            "from-onnx",
            "{}",
            "-o",
            "{folder}/out.prototxt",
            "--weights",
            "{folder}/out.model",
        )
        found.append(Reader("ONNX", inputs.onnx, "netgen", words))
        found.append(Reader("ONNX, unchecked", inputs.onnx, "netgen", (*words, "--no-check")))
    return found


def _pictures(inputs: Inputs) -> list[Reader]:
    """What makes records of pictures."""
    listed, pictures = inputs.folder / "images.txt", tuple(sorted(inputs.images.iterdir()))
    words = ("{folder}/", "{folder}/images.txt", "{folder}/out")
    mean = ("{folder}", "{top}/out.binaryproto")
    database = inputs.folder / "train_lmdb" / "data.mdb"
    return [
        *(
            Reader(
                f"{title}, convert_imageset",
                path,
                "convert_imageset",
                words,
                "",
                (*pictures, listed),
            )
            for title, path in (("JPEG", pictures[0]), ("PNG", pictures[1]), ("list", listed))
        ),
        *(
            Reader(
                f"{title}, images",
                path,
                "data_prep",
                ("images", "{top}/classes", "-o", "{top}/out", "--size", "8"),
                f"classes/a/{path.name}",
                (inputs.classes,),
            )
            for title, path in (("JPEG", pictures[0]), ("PNG", pictures[1]))
        ),
        Reader(
            "LMDB, compute_image_mean", database, "compute_image_mean", mean, "train_lmdb/data.mdb"
        ),
    ]


_DEPLOY = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "prob" type: "Softmax" bottom: "pool" top: "prob" }
"""
_SCORES = """
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" }
"""
_IMAGES = (
    """
layer {
  name: "data" type: "ImageData" top: "data" top: "label"
  image_data_param { source: "{folder}/images.txt" root_folder: "{root}" batch_size: 2 }
}"""
    + _SCORES
)
_MEAN = (
    """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { mean_file: "{folder}/mean.binaryproto" }
  data_param { source: "{lmdb}" backend: LMDB batch_size: 2 }
}"""
    + _SCORES
)
_LEVELDB = (
    """
layer {
  name: "data" type: "Data" top: "data" top: "label"
  data_param { source: "{folder}/db" backend: LEVELDB batch_size: 3 }
}"""
    + _SCORES
)
_HDF5 = (
    """
layer {
  name: "data" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "{folder}/h5.txt" batch_size: 4 }
}"""
    + _SCORES
)


def _hdf5_snapshots(place: Place) -> None:
    folder = place.inputs.folder / "hdf5"
    if not folder.exists():
        folder.mkdir()
        solver = place.inputs.solver("hdf5", form="HDF5")
        ended = place.run(Command("caffe", ("train", "-solver", str(solver)), folder))
        if ended.status:
            raise RuntimeError(ended.err)


class Mutants:
    """The part of the damaged inputs."""

    name, title, count = "mutants", "damaged input given to the command that reads it", 60
    counts_attacks = False

    def ready(self) -> None:
        """It can be tried everywhere."""

    def trial(self, place: Place, number: int, draw: random.Random) -> Trial:
        """A batch of damaged forms of one file."""
        _hdf5_snapshots(place)
        table = readers(place.inputs)
        reader = table[number % len(table)]
        trial = Trial(reader.title, attacks=BATCH)
        cases = list(mutants(reader.source.read_bytes(), BATCH, draw.randrange(1 << 30)))
        with place.empty() as folder:
            beside = folder / "in"
            beside.mkdir()
            for path in reader.with_it:
                where = beside / Path(reader.name).parent
                where.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, beside / path.name, dirs_exist_ok=True)
                else:
                    shutil.copy(path, where)
            if reader.net:
                text = reader.net.replace("{folder}", str(beside))
                (beside / "net.prototxt").write_text(text)
                (beside / "h5.txt").write_text(f"{beside}/data.h5\n")
            elif reader.name:  # a folder of records, with a net that reads it
                net = place.inputs.net.read_text().replace(str(place.inputs.folder), str(beside))
                net = net.replace(f"{beside}/test_lmdb", f"{place.inputs.folder}/test_lmdb")
                (beside / "net.prototxt").write_text(net)
                solver = place.inputs.solver("damaged", 1, 0, net=beside / "net.prototxt")
                shutil.copy(solver, beside / "solver.prototxt")
            trial.complaints = read_all(place, reader, beside, cases)
            if number % OWN_PROCESS == OWN_PROCESS - 1:
                words = reader.place(beside, cases[0][1])
                command = Command(reader.command, words, beside, own_process=True)
                trial.complaints += one_line(command, place.run(command, 60))
        return trial


def read_all(
    place: Place,
    reader: Reader,
    folder: Path,
    cases: list[tuple[str, bytes]],
    trains: float = TRAINS,
    slow: float = SLOW,
) -> list[str]:
    """Read every case; after a crash or hang a new fork goes on with the next.

    cases: what the damage is, and the damaged bytes. trains, slow: TRAINS and SLOW, in s. Returns
    a complaint for every answer that is not one line.
    """
    complaints: list[str] = []
    start, told = 0, folder.parent / "told"
    batch = folder.parent / "batch"
    batch.write_bytes(pickle.dumps((reader, folder, cases)))

    def what(number: int) -> str:
        return f"{reader.title}, {cases[number][0]} (input {number})"

    while start < len(cases):
        told.write_text("")
        command = Command("attack.mutants", (str(batch), str(start), str(told)), folder)
        with place.starter.started(command) as running:
            hung = _watch(running, told, folder.parent / "err", trains, slow)
            running.kill()
            ended = running.end()
        answers = [json.loads(line) for line in told.read_text().splitlines()]
        complaints += [f"{what(start + i)}: {wrong}" for i, wrong in enumerate(answers) if wrong]
        if ended.peak_mb > 1024:
            complaints.append(f"{what(start)} and later: {ended.peak_mb / 1024:.2f} GB")
        start += len(answers)
        if hung or ended.status:
            how = f"no end after {slow:g} s" if hung else f"ended with status {ended.status}"
            complaints.append(f"{what(min(start, len(cases) - 1))}: {how}")
            start += 1
    return complaints


def _watch(running: Running, told: Path, err: Path, trains: float, slow: float) -> bool:
    """Wait for the end of a batch; whether one of its inputs hangs.

    A damaged solver may ask for a billion iterations, and then it trains, rightly. Such a one has
    displayed iterations and ends at a SIGINT with a snapshot, which a command that hangs does not.
    """
    size, since, asked = 0, time.monotonic(), False
    while running.running():
        time.sleep(0.02)
        if told.stat().st_size != size:
            size, since, asked = told.stat().st_size, time.monotonic(), False
        waited = time.monotonic() - since
        if waited >= (trains + STOPS if asked else slow):
            return True
        if not asked and waited >= trains and b"] Iteration " in err.read_bytes():
            asked = True
            running.kill(signal.SIGINT)
    return False


def command(words: list[str]) -> int:
    """In a fork of the starter: read the batch from the case `start` on, telling of each."""
    with open(words[0], "rb") as file:
        reader, folder, cases = pickle.load(file)
    out, err = folder.parent / "out", folder.parent / "err"
    with open(words[2], "a", buffering=1) as told:
        for _, data in cases[int(words[1]) :]:
            become(str(out), str(err))
            arguments = reader.place(folder, data)
            status = finish(commands.function(reader.command, list(arguments)))
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that came too late is nobody's
            if sys.stderr is not None:
                sys.stderr.flush()
            asked = Command(reader.command, arguments, folder)
            said = err.read_text(errors="backslashreplace")
            wrong = " ".join(one_line(asked, Ended(status, out.read_text(errors="replace"), said)))
            if status == INTERRUPTED:  # it had displayed iterations, and did not stop as they do
                wrong = f"{asked}: no training, and no end until it was interrupted"
            told.write(json.dumps(wrong and f"{wrong[-400:]}") + "\n")
    return 0
