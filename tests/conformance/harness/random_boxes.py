"""Random probes for the fuzzer: a layer of forks and its bottoms, in the notation of probes.py."""

from hypothesis import strategies as st


class Fields:
    """Draws the fields of a layer's message."""

    def __init__(self, draw):
        self.draw, self.words = draw, []

    def pick(self, *choices):
        return self.draw(st.sampled_from(choices))

    def add(self, name, *choices):
        """The field with one of the choices; returns that."""
        value = self.pick(*choices)
        text = str(value).lower() if isinstance(value, bool) else value
        self.words.append(f"{name}: {text}")
        return value

    def maybe(self, name, *choices):
        """The field in half of the draws; shrinks to none."""
        return self.add(name, *choices) if self.draw(st.booleans()) else None

    def inside(self, name, **fields):
        """A message with some of these fields."""
        inner = Fields(self.draw)
        for field, choices in fields.items():
            inner.maybe(field, *choices)
        self.words.append(f"{name} {{ {' '.join(inner.words)} }}")

    def images(self, batch, most):
        """Which image each of some rows is of, in words; -1 for an empty row."""
        rows = self.draw(st.lists(st.integers(-1, batch - 1), min_size=1, max_size=most))
        return len(rows), ",".join(map(str, rows))

    @property
    def text(self):
        return f"{{{' '.join(self.words)}}}" if self.words else ""


def multibox_loss(f):
    batch, priors = f.pick(1, 2, 3), f.pick(1, 3, 8, 12, 30)
    classes = f.add("num_classes", 2, 3, 4, 7)
    mining = f.add("mining_type", "MAX_NEGATIVE", "HARD_EXAMPLE", "NONE")
    shared = f.add("share_location", True, *[False] * (mining == "NONE"))
    if mining != "NONE" or batch == 1:  # else Caffe writes labels to wrong places
        f.maybe("conf_loss_type", "LOGISTIC", "SOFTMAX")
    f.maybe("loc_loss_type", "L2", "SMOOTH_L1")
    f.maybe("loc_weight", 0.5, 2)
    f.maybe("match_type", "BIPARTITE", "PER_PREDICTION")
    f.maybe("overlap_threshold", 0.1, 0.3, 0.7)
    f.maybe("neg_pos_ratio", 0.3, 1, 1.7, 9)
    f.maybe("neg_overlap", 0.05, 0.2, 0.8)
    f.maybe("code_type", "CENTER_SIZE", "CORNER_SIZE", "CORNER")
    f.maybe("sample_size", 1, 3, 10)
    for name in ("use_prior_for_matching", "use_difficult_gt"):
        f.maybe(name, False)
    for name in (
        "encode_variance_in_target",
        "ignore_cross_boundary_bbox",
        "bp_inside",
        "use_prior_for_nms",
    ):
        f.maybe(name, True)
    if f.pick(False, True):
        f.inside("nms_param", nms_threshold=(0, 0.1, 0.3, 0.6), top_k=(5, 100))
    mode = f.pick("", *(f"normalization: {m}" for m in ("FULL", "VALID", "BATCH_SIZE", "NONE")))
    count, images = f.images(batch, 7)
    places = priors * 4 * (1 if shared else classes)
    return (
        f"{batch}x{places}={f.pick('floats', 'unit')} "
        f"{batch}x{priors * classes}={f.pick('floats', 'unit:3')} "
        f"1x2x{priors * 4}={f.pick('priors', 'priors:twice', 'priors:far')} "
        f"1x1x{count}x8=truth:{classes}/{images} | {f.text} loss_param {{ {mode} }}"
    )


def detection_output(f):
    batch, priors = f.pick(1, 2, 3), f.pick(1, 3, 5, 12, 60)
    classes = f.add("num_classes", 1, 2, 3, 5)
    shared = f.add("share_location", True, False)
    # With shared locations -1 is also the label of these, and Caffe ends.
    f.add("background_label_id", 0, classes - 1, *[-1] * (not shared))
    f.inside(
        "nms_param", nms_threshold=(0, 0.1, 0.45, 0.7, 0.9, 1), top_k=(-1, 0, 1, 4, 30),
        eta=(0.5, 0.9, 0.99),
    )  # fmt: skip
    f.maybe("code_type", "CENTER_SIZE", "CORNER_SIZE", "CORNER")
    f.maybe("variance_encoded_in_target", True)
    f.maybe("keep_top_k", -1, 0, 1, 3, 10)
    f.maybe("confidence_threshold", 0.1, 0.5, 0.9, 0.99)
    places = priors * 4 * (1 if shared else classes)
    return (
        f"{batch}x{places}={f.pick('floats', 'unit')} {batch}x{priors * classes}=unit "
        f"1x2x{priors * 4}={f.pick('priors', 'priors:twice')} > output | {f.text}"
    )


def detection_evaluate(f):
    classes = f.add("num_classes", 2, 3, 4)
    f.maybe("evaluate_difficult_gt", False)
    f.maybe("overlap_threshold", 0.1, 0.3, 0.6, 0.8)
    found = f.draw(st.lists(st.integers(0, 3), min_size=1, max_size=16))
    count, images = f.images(4, 9)
    return (
        f"1x1x{len(found)}x7=detections:{classes}/{','.join(map(str, found))} "
        f"1x1x{count}x8=truth:{classes}/{images} | {f.text}"
    )


def prior_box(f):
    sizes = f.draw(st.lists(st.sampled_from([3, 7.5, 10, 20.9]), min_size=1, max_size=3))
    more = f.pick(0, 2, 9.6)
    for size in sizes:
        f.add("min_size", size)
        if more:
            f.add("max_size", size + more)
    for ratio in f.draw(st.lists(st.sampled_from([1, 2, 3, 0.5, 1.6, 0.3333]), max_size=3)):
        f.add("aspect_ratio", ratio)
    f.add("clip", False, True)
    f.maybe("flip", False)
    f.maybe("offset", 0, 0.3, 1)
    f.words.append(f.pick("", "step: 8.25", "step_h: 5.5 step_w: 7"))
    f.words.append(f.pick("", "img_size: 31", "img_h: 29 img_w: 53"))
    f.words.append(f.pick("", "variance: 0.3", " ".join(f"variance: 0.{i}" for i in range(1, 5))))
    height, width = (f.draw(st.integers(1, 6)) for _ in range(2))
    return f"1x2x{height}x{width}! 1x3x{f.pick(20, 31)}x{f.pick(33, 50)}! | {f.text}"


def normalize(f):
    f.add("across_spatial", True, False)
    f.maybe("channel_shared", False)
    f.maybe("eps", 0.1, 1)
    # Of a single value the gradient is zero, and all that is left of it is rounding.
    shape = [f.pick(1, 2, 3), f.pick(2, 3, 4), *f.draw(st.lists(st.integers(1, 5), max_size=2))]
    return f"{'x'.join(map(str, shape))} | {f.text}"


def permute(f):
    shape = f.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    order = f.draw(st.permutations(range(len(shape))))
    for axis in order[: f.draw(st.integers(0, len(order)))]:
        f.add("order", axis)
    return f"{'x'.join(map(str, shape))} | {f.text}"


MAKERS = {
    "MultiBoxLoss": multibox_loss,
    "DetectionOutput": detection_output,
    "DetectionEvaluate": detection_evaluate,
    "PriorBox": prior_box,
    "Normalize": normalize,
    "Permute": permute,
}


@st.composite
def probes(draw):
    """The line of a random probe of a layer of forks."""
    kind = draw(st.sampled_from(sorted(MAKERS)))
    return f"{kind} fuzz: {MAKERS[kind](Fields(draw))}"
