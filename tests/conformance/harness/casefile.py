"""Reads cases/*.runs: whole runs in the notation of notation.py.

[*]                                      lines for every case that follows
[clip_gradients_zero]
@small                                   lines of cases/blocks.txt
conv Convolution data > conv | {n: 4}    a layer; =text and @data as in notation.py
solver clip_gradients: 0                 a field of the solver; "solver momentum" drops it
first max_iter: 10                       the same of a solver that runs before this one,
                                         which then resumes from iteration 10
records data 12 3x9x9 floats ints:5      LMDB: name, count, shape, kind, kind of the labels; a
                                         LevelDB with `leveldb` behind
annotated data 6 3x20x20 4 0,2,1         LMDB of images with boxes: how many, their shape, how
                                         many classes, how many boxes each (round and round)
dataset a.h5 data 5x3x9x9 floats         HDF5 file: one of its datasets; maybe its dtype
image a.png 9x7x3 bytes                  image file: height, width, channels
line list.txt a.png 1                    one more line of a text file
blob mean.binaryproto 1x3x9x9 unit       BlobProto: shape, kind, maybe legacy or double
start statistics                         BatchNorm starts with statistics
start nothing                            no weights to start from: the fillers'
compare status                           only whether the run was refused counts
differs WHY                              here it is accepted where a C++ Caffe refuses, or
                                         the other way round, and stays so
otherwise WHY                            the fork's numbers are others, and that is meant
call test -model net.prototxt            instead of `caffe train`; several are made in turn
seed 2                                   other random numbers
== second.prototxt                       what follows is another net; `== init` is the net
                                         whose weights the case starts from
"""

from pathlib import Path

from harness.case import TRAIN, WEIGHTS, Case
from harness.notation import net_text

HERE = Path(__file__).parent.parent / "cases"

SOLVER = {
    "net": '"net.prototxt"',
    "base_lr": "0.02",
    "momentum": "0.9",
    "weight_decay": "0.002",
    "lr_policy": '"fixed"',
    "test_iter": "2",
    "test_interval": "10",
    "display": "1",
    "max_iter": "20",
    "snapshot": "20",
    "snapshot_prefix": '"snap"',
    "solver_mode": "CPU",
}
RECORDS = (12, "3x9x9", "floats", "ints:5")


def blocks():
    """{name: lines} of blocks.txt."""
    found = {}
    for line in _lines((HERE / "blocks.txt").read_text(encoding="utf-8")):
        if line.startswith("["):
            lines = found[line[1:-1]] = []
        else:
            lines += found.get(line[1:], [line])
    return found


def _lines(text):
    return [x.strip() for x in text.splitlines() if x.strip() and not x.startswith("#")]


def solver_text(changes):
    """A solver prototxt: the usual fields with `changes`, [(field, value or None)]."""
    fields = [item for item in _override(list(SOLVER.items()), changes) if item[1]]
    return "".join(
        f"{field} {value}\n" if value.startswith("{") else f"{field}: {value}\n"
        for field, value in fields
    )


def _override(settings, changes):
    """Both lists of (field, value), without the settings of fields that `changes` has."""
    changed = {field for field, _ in changes}
    return [item for item in settings if item[0] not in changed] + changes


def _changes(settings):
    pairs = [
        setting.partition(":" if ":" in setting.split("{")[0] else " ")[::2] for setting in settings
    ]
    return [(field.strip(), value.strip() or None) for field, value in pairs]


class _Reader:
    """Collects the lines of one case."""

    def __init__(self, name, family, known, common):
        self.case = Case(name, family, option=name.replace("_", " "))
        self.known = known
        self.nets = {"net.prototxt": []}
        self.current = "net.prototxt"
        self.solver, self.first, self.calls = [], [], []
        for line in common:
            self.line(line)
        self.common, self.solver = self.solver, []

    def line(self, line):
        word, _, rest = line.partition(" ")
        if word == "==":
            self.current = "init.prototxt" if rest == "init" else rest
            self.nets[self.current] = []
        elif word in ("solver", "first"):
            getattr(self, word).append(rest)
        elif word == "records":
            name, count, shape, kind, labels, *backend = rest.split()
            self.case.records[name] = (int(count), shape, kind, labels)
            if backend == ["leveldb"]:
                self.case.leveldbs.add(name)
        elif word == "annotated":
            name, count, shape, classes, boxes = rest.split()
            self.case.annotated[name] = (int(count), shape, int(classes), boxes)
        elif word == "dataset":
            name, dataset, shape, kind, *dtype = rest.split()
            rows = (dataset, shape, kind, "".join(dtype) or "f4")
            self.case.rows.setdefault(name, []).append(rows)
        elif word == "image":
            name, shape, kind = rest.split()
            self.case.images[name] = (shape, kind)
        elif word == "line":
            name, _, text = rest.partition(" ")
            self.case.texts[name] = f"{self.case.texts.get(name, '')}{text}\n"
        elif word == "blob":
            name, shape, kind, *form = rest.split()
            self.case.blobs[name] = (kind, shape, "".join(form))
        elif line == "start statistics":
            self.case.statistics = True
        elif line == "start nothing":
            self.case.start = ""
        elif line == "compare status":
            self.case.only_status = True
        elif word == "otherwise":
            self.case.quirk = rest
        elif word == "differs":
            self.case.differs = rest
        elif word == "call" or line == "call":
            self.calls.append(rest.split())
        elif word == "seed":
            self.case.seed = int(rest)
        else:
            lines = self.known.get(line[1:], [line]) if line.startswith("@") else [line]
            self.nets[self.current] += lines

    def finish(self):
        case = self.case
        sources = " ".join(sum(self.nets.values(), []))
        if "@data" in sources or '"data_lmdb"' in sources:
            case.records.setdefault("data", RECORDS)
        for file, lines in self.nets.items():
            case.texts[file] = net_text(file.removesuffix(".prototxt"), lines)
        if "init.prototxt" in self.nets:
            case.start = "init.prototxt"
        changes = _override(_changes(self.common), _changes(self.solver))
        case.texts["solver.prototxt"] = solver_text(changes)
        case.calls = self.calls or [[*TRAIN, *(WEIGHTS if case.start else [])]]
        if self.first:
            case.texts["solver_first.prototxt"] = solver_text(
                _override(changes, _changes(self.first))
            )
            tail = ".h5" if "snapshot_format: HDF5" in case.texts["solver.prototxt"] else ""
            case.calls = [
                ["train", "-solver", "solver_first.prototxt", *WEIGHTS],
                [*TRAIN, "-snapshot", f"snap_iter_10.solverstate{tail}"],
            ]
        return case


def read_runs(path, family, known=None):
    """The Cases of one file, in its order. Raises ValueError naming file and case."""
    return read_text(path.read_text(encoding="utf-8"), family, known)


def read_text(text, family, known=None):
    """read_runs of text. known: what `blocks` gives."""
    known = blocks() if known is None else known
    readers, common = [], []
    for line in _lines(text):
        if line == "[*]":
            readers.append(None)
        elif line.startswith("["):
            readers.append(_Reader(line[1:-1], family, known, common))
        elif readers[-1] is None:
            common.append(line)
        else:
            readers[-1].line(line)
    cases = []
    for reader in filter(None, readers):
        try:
            cases.append(reader.finish())
        except ValueError as error:
            raise ValueError(f"{family}: [{reader.case.name}]: {error}") from error
    return cases
