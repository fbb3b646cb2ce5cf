"""Everything on a card of paper (harness/card.py), on a machine that has none: what a GPU would refuse.

    python tests/conformance/on_card.py [--only 'pooling/*'] [--sample] [--reads]

Every case of tests/conformance runs under `caffe ... -gpu 0`, its steps recorded from the first on,
and is held to the same frozen numbers and lines as on the host. A find is a case that comes out
otherwise, work of the host and the card in one operation, or a layer that says of itself that it
can be recorded and cannot. --sample: one case of each layer type and net, which is what the tests
run; --reads: what the host waited for, with the places in the code.
"""

import collections
import fnmatch
import os
import re

import torch
from harness.card import NAME, Card
from harness.engines import Embedded
from harness.families import families, of_fork
from harness.judges import LIVE_ONLY, Frozen

from netgen import schema
from netgen.commandline import Parser, run
from netgen.schema import caffe_pb
from runner.process import recording  # noqa: TID251

#: what a log on the host has in the place of these lines
ON_HOST = [
    (re.compile(r"204\] Using GPUs 0$"), "197] Use CPU."),
    (re.compile(r"266\] Use GPU with device ID 0$"), "275] Use CPU."),
    (re.compile(r"339\] Use GPU with device ID 0$"), "343] Use CPU."),
    (re.compile(r"^device_id: 0$"), None),
    (re.compile(rf"\] GPU (?:0: |device name: ){NAME}$"), None),
    (re.compile(r"is not recorded as a CUDA graph: (?:its Python layers|its inputs change)"), None),
]


class OnCard(Embedded):
    """The engine with what it computes on the card."""

    def call(self, words, folder):
        if words and words[0] in ("train", "test", "time") and "-gpu" not in words:
            words = [*words, "-gpu", "0"]
        status, log = super().call(words, folder)
        return status, "\n".join(_as_on_host(log.splitlines())) + "\n"


def _as_on_host(lines):
    for line in lines:
        for pattern, instead in ON_HOST:
            if pattern.search(line):
                line = instead and pattern.sub(instead, line)
                break
        if line is not None:
            yield line


def types_of(case):
    """The types of a case's layers."""
    found = set()
    for name, text in case.texts.items():
        if "layer" in text and name != "solver.prototxt" and name.endswith(".prototxt"):
            try:
                net = schema.parse_text(text, caffe_pb.NetParameter)
            except schema.SchemaError:
                continue
            found |= {layer.type for layer in net.layer}
    return found


def chosen(pattern, sample):
    """The cases: those of a pattern; sample: as few as show every layer type."""
    cases = [
        case
        for family, cases in families().items()
        if family not in LIVE_ONLY
        for case in cases
        if fnmatch.fnmatch(f"{family}/{case.name}", pattern)
    ]
    if not sample:
        return cases
    seen, few = set(), []
    for case in cases:
        types = types_of(case)
        if types - seen:
            few.append(case)
            seen |= types
    return few


def main(words=None):
    """The command; returns its exit status."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", metavar="PATTERN", help="e.g. 'solver/*'")
    parser.add_argument("--sample", action="store_true", help="one case of each layer type")
    parser.add_argument("--reads", action="store_true", help="what the host waited for")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    recording.WARM_UP = 0
    finds, types, count, reads = 0, set(), 0, collections.Counter()
    os.environ["CAFFE_ROOT"] = ""
    with Card() as card:
        judges = {fork: Frozen(fork) for fork in (False, True)}
        for judge in judges.values():
            judge.ours = OnCard()
        for case in chosen(options.only, options.sample):
            card.reads.clear()
            complaints = judges[of_fork(case.family)].judge(case).complaints
            count, types = count + 1, types | types_of(case)
            reads.update(card.reads)
            if complaints:
                finds += 1
                print(f"{case.family}/{case.name}: {complaints[0]}", flush=True)
        if options.reads:
            for (operation, place), times in reads.most_common():
                print(f"{times:6} {operation} {place}")
        print(
            f"{count} cases, {len(types)} layer types, {len(card.operations)} operations on the "
            f"card: {finds} finds"
        )
    return 1 if finds or not count else 0


if __name__ == "__main__":
    run(main)
