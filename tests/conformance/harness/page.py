"""docs/CONFORMANCE.md: types by options by measured error."""

import platform
from pathlib import Path

import numpy as np
import torch

from harness import judge, older
from harness.families import is_probe
from harness.results import agrees, worst
from netgen.schema import write_bytes

MENDED = Path(__file__).parent.parent / "mended.md"
INTRO = """# Conformance

What the embedded engine gives, held against {against}:
same prototxt, same records, same first weights, one thread, float32 on the CPU. Python {python},
PyTorch {torch}, NumPy {numpy}.
Written by `make conformance PAGE=docs/CONFORMANCE.md`; do not edit.

{summary}.

An error is the largest difference of an array relative to its largest value. Allowed are
{forward:g} forward, {backward:g} backward, {weights:g} in weights after 10 to 50 iterations,
{history:g} in the solver's history, {forward:g} in what HDF5Output wrote, {printed:g} in a
printed number (six digits are printed; below {floor:g} the difference is taken relative to
{floor:g}). Log lines are compared whole, but for times. No layer needs more.
"""
FORKS = """## Layers that only forks have

Judged by {against}, which is of SSD's
lineage, on the CPU and without OpenCV; the allowances are those above.

{summary}.

Where the last column has words, the fork is known to be otherwise than the layer's own source,
which is followed here: the `ssd` branch of weiliu89/caffe, or what the words name.

Not compared, because it is undefined in the fork: the backward of Upsample, which leaves in memory
what was there; the order of equal confidences and losses among more than 16, which std::sort
leaves open; labels outside the classes of MultiBoxLoss, for which it reads beyond its memory; and
the order of Proposal's boxes of score 0. PSROIPooling has only GPU code there. What AnnotatedData
does at random is not compared, and what takes OpenCV cannot be: encoded images, resize_param,
distortion, expansion.

For the other forks' layers there is no C++ judge: brute-force references in NumPy and
torch.autograd.gradcheck in `tests/runner/test_layers_forks_*.py` hold them.
"""
OUTRO = """
## What is not compared

Random draws: crops and mirrors in training, shuffled files and lines, which window is drawn,
Dropout's mask, random DummyData; of a filler its distribution is. STOCHASTIC pooling exists on
the GPU only, in Caffe too. After `-snapshot` the embedded engine goes on with the record where
the run was; the cases remove the file that tells (`<state>.resume`), which gives Caffe's
behaviour: data from the first record on. In the log: the net that a C++ Caffe unrolls inside an
LSTM or RNN layer, and lines of its prefetching thread.
"""


def write_page(path, results, forks):
    """Write the page to `path`. results, forks: the Results of Caffe's layers, of a fork's own."""
    parts = [
        INTRO.format(
            against=results.against,
            python=platform.python_version(),
            torch=torch.__version__,
            numpy=np.__version__,
            summary=results.summary(),
            forward=judge.FORWARD,
            backward=judge.BACKWARD,
            weights=judge.WEIGHTS,
            history=judge.HISTORY,
            printed=judge.PRINTED,
            floor=judge.PRINTED_FLOOR,
        ),
        _probes(results.probes),
        _runs(results.runs),
        _crossings(results.crossings),
        _fillers(results.fillers),
        _refusals(results.refusals),
        OUTRO,
        _older(),
        _forks(forks),
        MENDED.read_text(encoding="utf-8"),
    ]
    write_bytes("\n".join(part for part in parts if part).encode(), path)


def _table(head, rows):
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


def _error(value):
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"


def _mark(verdict):
    return "**differs**" if verdict.complaints else verdict.quirk


def _probes(rows, title="## Layers, forward and backward"):
    if not rows:
        return ""
    body = []
    for kind in sorted({row.case.name.partition(" ")[0] for row in rows}):
        for row in rows:
            name, _, option = row.case.name.partition(" ")
            if name == kind:
                errors = row.verdict.errors
                body.append(
                    [
                        kind,
                        option,
                        _error(errors.get("forward")),
                        _error(errors.get("backward")),
                        _mark(row.verdict),
                    ]
                )
    return f"{title}\n\n" + _table("| type | option | forward | backward | |", body)


def _runs(rows, title="## Runs", agree=" Every line of every log agrees."):
    if not rows:
        return ""
    body = [
        [
            row.case.family,
            row.case.option,
            _error(row.verdict.errors.get("weights")),
            _error(row.verdict.errors.get("history")),
            _error(row.verdict.errors.get("printed")),
            _error(row.verdict.errors.get("output")),
            _mark(row.verdict),
        ]
        for row in rows
    ]
    largest = ", ".join(
        f"{what} {_error(worst(rows, what))}"
        for what in ("weights", "history", "printed", "output")
    )
    logs = worst(rows, "printed") is not None and not any(row.verdict.complaints for row in rows)
    return f"{title}\n\nLargest errors: {largest}.{agree * logs}\n\n" + _table(
        "| of | case | weights | history | printed | output | |", body
    )


def _crossings(rows):
    if not rows:
        return ""
    body = [
        [row.case.option, row.how, _error(row.verdict.errors.get("weights")), _mark(row.verdict)]
        for row in rows
    ]
    return (
        "## Snapshots, resumed by the other engine\n\nThe error is taken against a C++ Caffe that "
        "made both halves.\n\n" + _table("| case | snapshot | weights | |", body)
    )


def _fillers(rows):
    if not rows:
        return ""
    body = [
        [
            row.case.name,
            "x".join(map(str, row.case.shape)),
            f"{row.verdict.errors.get('distance', 0):.3f}",
            _mark(row.verdict),
        ]
        for row in rows
    ]
    return (
        "## Fillers\n\nLargest distance of the two distribution functions, from one draw each.\n\n"
        + _table("| filler | shape | distance | |", body)
    )


def _refusals(rows):
    if not rows:
        return ""
    apart = [row for row in rows if row.case.differs or row.verdict.quirk]
    wrong = [row for row in rows if row.verdict.complaints]
    text = (
        f"## Prototxts and commands, good and broken\n\n{len(rows) - len(apart) - len(wrong)} of "
        f"{len(rows)} are accepted or refused alike. On purpose apart are:\n\n"
    )
    return text + _table(
        "| case | |",
        [[row.case.option, row.case.differs or row.verdict.quirk] for row in apart]
        + [[row.case.option, f"**{row.verdict.complaints[0]}**"] for row in wrong],
    )


def _forks(results):
    """The section of the layers that only forks have."""
    if not results.all:
        return ""
    counts = {}
    for row in results.rows:
        kind = row.case.name.partition(" ")[0] if is_probe(row.case) else "whole runs"
        counts.setdefault(kind, []).append(row.verdict)
    body = [
        [kind, *map(str, (sum(map(agrees, verdicts)), len(verdicts)))]
        for kind, verdicts in sorted(counts.items())
    ]
    parts = [
        FORKS.format(against=results.against, summary=results.summary()),
        _table("| type | agree | of |", body),
        _probes(results.probes, "### Forward and backward"),
        _runs(results.runs, "### Runs of a fork's layers", " Every printed result agrees."),
    ]
    return "\n".join(parts)


def _older():
    rows = [[reason, str(len(cases))] for reason, cases in older.quirks().items()]
    return (
        "## What the older fork does otherwise\n\nThe C++ Caffe that `make pycaffe` builds is "
        "older than Caffe 1.0. Held against it, all cases agree but those of "
        "`tests/conformance/cases/older.txt`, which are known to differ (and told if they do not); "
        "its log has other lines and is not compared.\n\n" + _table("| otherwise | cases |", rows)
    )
