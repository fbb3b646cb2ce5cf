"""Random cases for the fuzzer: a valid net, a solver and records, in the notation of casefile.py.

What comes out is the text of a case, so that a find is a test as it stands.
"""

import copy
import math

from hypothesis import strategies as st

from harness.notation import layer_text
from harness.random_layers import MAKERS
from netgen import graph, schema
from netgen.schema import caffe_pb

LIMIT = 4000  # elements of a blob
IN_PLACE = (
    "ReLU",
    "PReLU",
    "ELU",
    "Sigmoid",
    "TanH",
    "BNLL",
    "Power",
    "Exp",
    "Clip",
    "Swish",
    "Dropout",
    "BatchNorm",
    "Scale",
    "Bias",
    "Softmax",
    "LRN",
    "MVN",
    "Log",
    "Eltwise",
)
#: types with an input that no gradient goes to: Caffe ends where one is asked for
STUCK = ("ArgMax", "Threshold", "Embed", "BatchReindex", "Accuracy", "InfogainLoss")
#: types whose top is, in Caffe, the same memory as a blob, a bottom or (of one step) a layer's in
#: the unrolled net of theirs
SHARES = ("Parameter", "Flatten", "Reshape", "Split", "Slice", "Concat", "LSTM", "RNN")
#: types whose top may be one value, or one record, throughout
FLATTENS = ("Power", "BatchReindex", "Tile", "Clip", "DummyData", "Threshold", "Softmax")
#: types whose tops are not picked as bottoms at random: without gradient, or constant
HIDDEN = ("ArgMax", "Threshold", "DummyData")
LEARNS = ("Convolution", "Deconvolution", "InnerProduct", "Embed", "Scale", "Bias", "PReLU")


class Maker:
    """Draws the layers of one net and keeps the shapes of its blobs."""

    def __init__(self, draw, batch, shape):
        self.draw, self.batch = draw, batch
        self.shapes = {"data": (batch, *shape), "label": (batch,)}
        self.lines, self.used, self.count = [], set(), 0
        self.hidden = {"label"}
        self.kept = {"data"}  # what a layer in place would change elsewhere as well, in Caffe
        self.flat = set()  # blobs whose values are all, or may be, the same

    # --- drawing ---

    def integer(self, low, high):
        return self.draw(st.integers(low, high))

    def pick(self, *choices):
        return self.draw(st.sampled_from(choices))

    def chance(self, n):
        """True once in n draws; shrinks to False."""
        return self.integer(0, n - 1) == n - 1

    def some(self, text, n=2):
        return text + " " if self.chance(n) else ""

    # --- blobs ---

    def shape(self, blob):
        return self.shapes[blob]

    def blobs(self, fits=lambda shape: True):
        """The blobs that fit, the newest first, but for the hidden ones."""
        found = (blob for blob in reversed(self.shapes) if blob not in self.hidden)
        return [blob for blob in found if fits(self.shapes[blob])]

    def blob(self, axes=None):
        """A blob, the newest more often than not; None if none has so many axes."""
        found = self.blobs(lambda shape: shape and (axes is None or len(shape) in axes))
        return self.pick(*found[:1], *found[:3]) if found else None

    def like(self, blob):
        return self.matching(self.shapes[blob])

    def matching(self, shape):
        found = self.blobs(lambda other: other == shape)
        return self.pick(*found) if found else None

    # --- layers ---

    def line(self, kind, bottoms, own="", tops=1, rest="", in_place=False):
        """Append a layer; returns its first top, or None where its shape rule refuses."""
        name = f"l{self.count + 1}"
        names = [name] + [f"{name}_{i}" for i in range(1, tops)]
        names = names[:tops]
        if in_place:
            names[0] = bottoms[0]
        line = f"{name} {kind} {' '.join(bottoms)} > {' '.join(names)} | {{{own}}} {rest}".strip()
        layer = schema.parse_text(layer_text(line), caffe_pb.NetParameter).layer[0]
        shapes = graph.layer_shapes(layer, [self.shapes[b] for b in bottoms], caffe_pb.TRAIN).tops
        if any(math.prod(shape) > LIMIT for shape in shapes):
            raise graph.NetError("too large for a quick run")
        if in_place and tuple(shapes[0]) != self.shapes[bottoms[0]]:
            raise graph.NetError("another shape than its bottom's")
        self.count += 1
        self.lines.append(line)
        self.used.update(bottoms)
        if kind in SHARES:
            self.kept.update(names)
        if kind in FLATTENS or bottoms and self.flat.issuperset(bottoms):
            self.flat.update(names)
        for top, shape in zip(names, shapes, strict=False):
            self.shapes.pop(top, None)
            self.hidden.discard(top)
            self.shapes[top] = tuple(shape)
            if kind in HIDDEN:
                self.hidden.add(top)
        return names[0] if names else None

    def layer(self):
        """Append one random layer, if the first draw that fits comes soon."""
        before = {name: copy.copy(value) for name, value in vars(self).items() if name != "draw"}
        try:
            made = MAKERS[self.pick(*sorted(MAKERS))](self)
            if not made or None in made[1]:
                return
            kind, bottoms, tops, own = made
            may = kind in IN_PLACE and bottoms[0] not in self.used | self.kept
            self.line(kind, bottoms, own, tops, self.rest(kind, tops), may and self.chance(3))
        except graph.NetError:
            vars(self).update(before)

    def rest(self, kind, tops):
        """Fields of LayerParameter that any layer may have."""
        text = ""
        if kind in LEARNS and self.chance(4):
            lr, decay = self.pick(0, 2, 0.5), self.pick(1, 0, 3)
            text += f"param {{ lr_mult: {lr} decay_mult: {decay} }} "
        elif kind in LEARNS and self.chance(6):
            share = self.some("share_mode: PERMISSIVE", 3)
            text += f'param {{ name: "{self.pick("u", "v")}" {share}}} '
        if tops == 1 and kind not in ("ArgMax", "Threshold", "Parameter") and self.chance(12):
            text += f"loss_weight: {self.pick(0.01, -0.02)} "
        return text


def _loss(m):
    """A loss on some blob."""
    kind = m.pick(
        "SoftmaxWithLoss",
        "HingeLoss",
        "EuclideanLoss",
        "SigmoidCrossEntropyLoss",
        "Reduction",
        "ContrastiveLoss",
        "InfogainLoss",
        "MultinomialLogisticLoss",
    )
    rest = m.some(f"loss_weight: {m.pick(0.5, 2)}", 4)
    suited = m.blobs(lambda shape: shape and shape[0] == m.batch)
    blob = m.pick(*suited)
    try:
        score = m.line("InnerProduct", [blob], f"num_output: {5 if kind != 'EuclideanLoss' else 3}")
        modes = m.some(f"normalization: {m.pick('FULL', 'VALID', 'BATCH_SIZE', 'NONE')}", 3)
        ignore = m.some(f"ignore_label: {m.integer(0, 4)}", 3)
        if kind == "Reduction":
            m.line(kind, [score], "operation: SUMSQ coeff: 0.1", rest="loss_weight: 1")
        elif kind in ("EuclideanLoss", "ContrastiveLoss"):
            other = m.line("InnerProduct", [m.pick(*suited)], f"num_output: {m.shapes[score][1]}")
            if kind == "ContrastiveLoss":
                labels = m.line("Power", ["label"], "scale: 0")
                own = m.some(f"margin: {m.pick(0.5, 2)}") + m.some("legacy_version: true")
                m.line(kind, [score, other, labels], own, rest=rest)
            else:
                m.line(kind, [score, other], rest=rest)
        elif kind == "SigmoidCrossEntropyLoss":
            target = m.line("Sigmoid", [m.line("Power", [score], "scale: 0")])
            m.line(
                kind,
                [score, m.line("Power", [target], "scale: 0 shift: 1")],
                modes,
                rest=(rest + " propagate_down: true propagate_down: false"),
            )
        elif kind == "InfogainLoss":
            matrix = "shape { dim: 1 dim: 1 dim: 5 dim: 5 } data_filler { value: 0.3 }"
            h = m.line("DummyData", [], matrix)
            m.line(kind, [score, "label", h], rest=f"{rest} loss_param {{ {modes}{ignore} }}")
        elif kind == "MultinomialLogisticLoss":
            m.line(kind, [m.line("Softmax", [score]), "label"], rest=rest)
        elif kind == "HingeLoss":
            m.line(kind, [score, "label"], m.some("norm: L2"), rest=rest)
        else:
            m.line(kind, [score, "label"], modes + ignore, rest=rest)
            if m.chance(2):
                own = m.some("top_k: 2") + ignore
                m.line("Accuracy", [score, "label"], own, m.integer(1, 2))
    except graph.NetError:
        m.line("Reduction", [blob], "operation: SUMSQ coeff: 0.05", rest="loss_weight: 1")


def _solver(m):
    """Lines of a solver."""
    kind = m.pick("SGD", "SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
    rate = {"AdaDelta": 1, "AdaGrad": 0.01, "RMSProp": 0.002, "Adam": 0.003}.get(kind, 0.01)
    fields = {"type": f'"{kind}"', "base_lr": rate, "max_iter": 4, "snapshot": 4}
    fields["test_interval"], fields["test_iter"] = 2, 1
    if kind in ("AdaGrad", "RMSProp") or m.chance(5):
        fields["momentum"] = ""
    if kind != "SGD" and kind != "Nesterov":
        fields["delta"] = 0.001
    if m.chance(3):
        fields["weight_decay"] = m.pick(0, 0.05)
    if m.chance(3):
        fields["regularization_type"] = '"L1"'
    if m.chance(4):
        fields["clip_gradients"] = m.pick(0.5, 5, 0.05)
    if m.chance(4):
        fields["iter_size"] = m.integer(1, 3)
    if m.chance(4):
        fields["average_loss"] = m.integer(1, 4)
    policy = m.pick("fixed", "step", "multistep", "inv", "exp", "poly", "sigmoid")
    fields["lr_policy"] = f'"{policy}"'
    extra = {
        "step": {"gamma": 0.5, "stepsize": m.integer(1, 3)},
        "multistep": {"gamma": 0.5, "stepvalue": m.integer(1, 3)},
        "inv": {"gamma": 0.2, "power": m.pick(0.75, 1)},
        "exp": {"gamma": 0.9},
        "poly": {"power": m.pick(1, 2, 0.5)},
        "sigmoid": {"gamma": -0.5, "stepsize": 2},
    }
    fields.update(extra.get(policy, {}))
    return [
        f"solver {key}: {value}" if value != "" else f"solver {key}"
        for key, value in fields.items()
    ]


@st.composite
def cases(draw):
    """The text of a random case, but for its `[name]`."""
    batch = draw(st.integers(1, 4))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8)))
    m = Maker(draw, batch, shape)
    for _ in range(draw(st.integers(1, 7))):
        m.layer()
    for _ in range(draw(st.integers(1, 2))):
        _loss(m)
    scaled = m.some(" : transform_param { scale: 0.5 }", 4)
    lines = [f"@data batch={batch},{batch}{scaled}".rstrip()]
    lines += m.lines + _solver(m)
    if not any(line.split()[1] in STUCK for line in m.lines) and m.chance(12):
        lines.insert(0, "=force_backward: true")
    lines.append(f"records data 7 {'x'.join(map(str, shape))} floats ints:5")
    return "\n".join(lines)
