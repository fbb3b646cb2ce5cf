"""Probes: one layer, its forward and its backward, at full float32 precision.

A net with no data: the layer's bottoms are Parameter layers, whose values come from the first
weights. Each top is added to another Parameter and half its sum of squares is the loss:

    cost = |top + probe|^2 / 2       d cost / d probe = top + probe

so that one iteration with rate 1, no momentum and no decay turns the probe into -top, the
layer's forward result, and `snapshot_diff` holds its backward, for an upstream gradient that is
anything but constant: the gradients of the bottoms and of the layer's own blobs. It works in
any Caffe through its command alone, and without rounding to six printed digits.

cases/*.probes has one a line: type, option: bottoms > tops | as in notation.py

    Convolution dilation: 2x3x9x9 | {n: 4 k: 3 dilation: 2}

A bottom is shape=kind (floats if not said), `!` for one that takes no gradient; ints, maps,
given values and what harness/boxes.py draws never do. Behind `>` stands the number of tops (1 if
not said), `in-place`, or `output` (`output 2`): then the layer has no backward, or a top whose
size is known only when it has run, and HDF5Output tells its forward under `caffe test`. A line may
end in `# differs: WHY` where the layer is meant to be otherwise than in the fork, and is.
"""

from harness.boxes import BOXES
from harness.case import TRAIN, WEIGHTS, Case
from harness.notation import layer_text
from harness.records import draw, shape_of
from harness.start import statistics
from netgen import graph, schema
from netgen.schema import caffe_pb

#: the file that takes the forward result of a layer whose tops have no fixed size
OUTPUT = "out.h5"
OUTPUTS = [f"output/{OUTPUT}/{name}" for name in ("data", "label")]
SOLVER = """net: "net.prototxt"
base_lr: 1
lr_policy: "fixed"
max_iter: 1
snapshot_prefix: "snap"
snapshot_diff: true
solver_mode: CPU
"""
TRAIN_ONCE = [*TRAIN, *WEIGHTS]
FORWARD = ["test", "-model", "net.prototxt", *WEIGHTS, "-iterations", "1"]


def _dims(shape):
    return "shape { " + " ".join(f"dim: {d}" for d in shape) + " }"


def _parameter(name, shape, fixed=False):
    spec = "param { lr_mult: 0 }" if fixed else ""
    return f"{name} Parameter > {name} | {{{_dims(shape)}}} {spec}"


def measured(blobs):
    """Of a probe's snapshot, what the layer computed: forward/i, and gradients."""
    kept = {}
    for key, array in blobs.items():
        if key.startswith("output/"):
            kept[f"forward/{OUTPUTS.index(key)}"] = array
        elif key.startswith("probe") and not key.endswith(".diff"):
            kept[f"forward/{key[len('probe') : -len('/0')]}"] = -array
        elif key.startswith(("in", "it/")) and key.endswith(".diff"):
            kept[key] = array
        elif key.startswith("it/") and not blobs[key + ".diff"].any():
            kept[key] = array  # statistics: they move without a gradient
    return kept


class Probe:
    """One line of a .probes file."""

    def __init__(self, line, family):
        line, _, note = line.partition("#")
        _, _, self.differs = note.partition("differs: ")
        head, _, body = line.partition("|")
        label, _, wires = head.partition(":")
        bottoms, _, tops = wires.partition(">")
        self.kind, _, self.option = label.strip().partition(" ")
        self.family, self.body = family, body.strip()
        self.in_place = tops.strip() == "in-place"
        self.output = tops.split()[:1] == ["output"]
        count = tops.replace("output", "").strip()
        self.top_count = int(count) if count and not self.in_place else 1
        self.bottoms = [self._bottom(word) for word in bottoms.split()]

    @staticmethod
    def _bottom(word):
        shape, _, kind = word.rstrip("!").partition("=")
        fixed = word.endswith("!") or kind.startswith(("ints", "map", "values", *BOXES))
        return shape_of(shape), kind or "floats", fixed

    def lines(self):
        """The net in the notation, but for what measures the tops."""
        names = [f"in{i}" for i in range(len(self.bottoms))]
        lines = [
            _parameter(name, shape, fixed)
            for name, (shape, _, fixed) in zip(names, self.bottoms, strict=True)
        ]
        # A Parameter's top is the parameter itself, in Caffe: work on copies.
        lines += [f"copy{i} Power in{i} > bottom{i}" for i in range(len(names))]
        names = [f"bottom{i}" for i in range(len(names))]
        tops = [f"top{i}" for i in range(self.top_count)]
        if self.in_place:
            tops[0] = names[0]
        lines.append(f"it {self.kind} {' '.join(names)} > {' '.join(tops)} | {self.body}")
        return lines, tops

    def case(self):
        """The probe as a Case."""
        lines, tops = self.lines()
        text = " ".join(map(layer_text, lines))
        param = schema.parse_text(text, caffe_pb.NetParameter)
        layers = graph.infer(graph.insert_splits(param), caffe_pb.TRAIN)
        layer = next(info for info in layers if info.layer.name == "it")
        if self.output:
            lines.append(f'out HDF5Output {tops[0]} {tops[-1]} | {{file_name: "{OUTPUT}"}}')
            tops = []
        for i, (top, shape) in enumerate(zip(tops, layer.shapes.tops[: len(tops)], strict=True)):
            if not shape:
                lines.append(f"{top}_row Reshape {top} > {top}_row | {{{_dims((1,))}}}")
                top, shape = f"{top}_row", (1,)
            lines += [
                _parameter(f"probe{i}", shape),
                f"sum{i} Eltwise {top} probe{i} > sum{i}",
                f"cost{i} Reduction sum{i} > cost{i} | {{operation: SUMSQ coeff: 0.5}} "
                "loss_weight: 1",
            ]
        param = schema.parse_text(" ".join(map(layer_text, lines)), caffe_pb.NetParameter)
        return Case(
            f"{self.kind} {self.option}".strip(),
            self.family,
            self.option,
            texts={"net.prototxt": schema.to_text(param), "solver.prototxt": SOLVER},
            values=lambda random: self.values(layer.shapes, random),
            reads=measured,
            quirk=self.differs.strip(),
            calls=[FORWARD if self.output else TRAIN_ONCE],
        )

    def values(self, shapes, random):
        """{layer: arrays}: the bottoms, the layer's own blobs, the probes."""
        values = {
            f"in{i}": [draw(kind, shape, random)] for i, (shape, kind, _) in enumerate(self.bottoms)
        }
        if self.kind == "BatchNorm":
            values["it"] = statistics(shapes.params[0], random)
        else:
            values["it"] = [0.4 * random.standard_normal(shape) for shape in shapes.params]
        for i, shape in enumerate(shapes.tops):
            values[f"probe{i}"] = [random.standard_normal(shape or 1)]
        return values


def read_probes(path, family):
    """The probes of one file, in its order. Raises ValueError naming file and line."""
    probes = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            try:
                probes.append(Probe(line, family))
            except ValueError as error:
                raise ValueError(f"{path.name}:{number}: {error}") from error
    return probes
