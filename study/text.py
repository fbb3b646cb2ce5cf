"""The sections of a study's report, as Markdown."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from math import sqrt

from caffe_tools.best_accuracy import duration
from study.arms import CHAIN
from study.results import Result
from study.settings import SCALES, Settings
from study.statistics import Group, differences, mean_sd

STUDY = (0.909, 0.9206, 0.9247)  # the best test of one run each of baseline, msplit1, msplit2
CHANCE = 0.12  # guessing among ten classes, and a little more
_SIZE = ("width", "batch_size", "iterations", "base_lr", "lr_policy", "dropout")
_ABOUT = {
    "full": "the study's own net, schedule and length",
    "small": "a narrow net, trained for minutes. It tells how the arms compare with each other at "
    "this size, and nothing of the study's accuracies",
    "tiny": "every stage of the study, each far too short to learn much. It tells that they work, "
    "and nothing of accuracy",
    "changed": "with {changed} of its own, as in the table. What it tells is of this size, not "
    "of the study's accuracies",
}


def heading(settings: Settings, done: int, planned: int) -> Iterator[str]:
    """What this is, and what it is not; `done` of the `planned` trainings are complete."""
    yield "# Case study: All-CNN-C on CIFAR-10, grown by splits"
    own = SCALES[settings.scale]
    changed = [name for name in _SIZE if getattr(settings, name) != getattr(own, name)]
    text = _ABOUT["changed" if changed else settings.scale]
    yield f"**Scale `{settings.scale}`**: {text.format(changed=', '.join(changed))}."
    if settings.note:
        yield f"**Note**: {html.escape(settings.note)}"
    if done < planned:
        yield f"**Unfinished**: {done} of {planned} trainings are complete."
    yield _table(("", "this run", "the study"), _compared(settings), "lrr")


def _compared(settings: Settings) -> list[tuple]:
    full = SCALES["full"]
    return [
        ("width", f"{settings.width:g}", "1"),
        ("batch size", settings.batch_size, full.batch_size),
        ("iterations of the baseline", *(f"{s.iterations[0]:,}" for s in (settings, full))),
        ("iterations after a split", *(f"{s.iterations[1]:,}" for s in (settings, full))),
        ("learning rate", *(f"{s.base_lr:g}, {s.lr_policy}" for s in (settings, full))),
        ("dropout", *("yes" if s.dropout else "no" for s in (settings, full))),
        ("training images", f"{settings.train_size:,}", "50,000"),
        ("test images", f"{settings.test_size:,}", "10,000"),
        ("split", *(f"{s.kind}, weights as in `{s.init}`" for s in (settings, full))),
        (
            "layers split",
            "; ".join(",".join(names) for names in settings.layers)
            or f"entropy from {settings.factor:g} x mean on",
            "entropy from 1.1 x mean on",
        ),
        ("rounds", settings.rounds, 2),
        ("seeds", settings.seeds, 1),
    ]


def results(groups: Sequence[Group]) -> Iterator[str]:
    """The table of nets."""
    yield "## Results"
    rows = []
    for group in groups:
        after = group.values("after")
        rows.append(
            (
                f"**{group.label}**",
                group.arm.title,
                len(group.results),
                _percent(max(group.values("best"))),
                _spread(group.values("best")),
                _spread(group.values("final")),
                _range(group.values("parameters")),
                _range([m / 1e6 for m in group.values("multiply_adds")], "{:.1f}"),
                _mean(group.values("before")),
                _mean(after),
                _range([r.training.iterations for r in group.results]),
                duration(sum(group.values("seconds")) / len(group.results)) or "-",
            )
        )
    yield _table(
        (
            "net",
            "what it is",
            "n",
            "best of all",
            "best, mean ± sd",
            "final, mean ± sd",
            "parameters",
            "multiply-adds, M",
            "before the split",
            "after it",
            "iterations",
            "wall time of one",
        ),
        rows,
        "llrrrrrrrrrr",
    )
    yield (
        "Accuracies are percent of the test images; `best` is the best test of a run, `final` "
        "its last. ± is the sample standard deviation over n trainings. Multiply-adds: of one "
        "image forward. Before the split: the parent's last test; after it: the test of the "
        "weights that the training begins with."
    )
    lost = [(group, sum(value < CHANCE for value in group.values("final"))) for group in groups]
    if any(count for _, count in lost):
        names = ", ".join(
            f"{group.label} ({count} of {len(group.results)})" for group, count in lost if count
        )
        yield f"**Nothing learnt** (final accuracy under {100 * CHANCE:g} %): {names}."


def comparison(groups: Sequence[Group], test_size: int) -> Iterator[str]:
    """What each round gains, and the split against its controls, paired by seed."""
    chain = [g for g in groups if g.arm in CHAIN]
    rows = []
    for before, after in zip(chain, chain[1:], strict=False):
        study = (
            f"{100 * (STUDY[after.round] - STUDY[after.round - 1]):+.2f}"
            if (after.round < len(STUDY))
            else "-"
        )
        best, final = (differences(after, before, name) for name in ("best", "final"))
        rows.append((f"round {after.round}", len(best), _points(best), _points(final), study))
    if rows:
        yield "## What each round gains, in points"
        yield _table(
            ("round", "seeds", "best", "final", "the study, best of one run"), rows, "lrrrr"
        )
    rows = []
    for split in chain[1:]:
        for other in (g for g in groups if g.round == split.round and g is not split):
            best, final = (differences(split, other, name) for name in ("best", "final"))
            if best:
                rows.append(
                    (
                        f"round {split.round}: {split.arm.name} - {other.arm.name}",
                        len(best),
                        _points(best),
                        _points(final),
                    )
                )
    if rows:
        yield "## The split by TPM minus its controls, in points"
        yield _table(("difference", "seeds", "best, mean ± sd", "final, mean ± sd"), rows, "lrrr")
    final = max((mean_sd(group.values("final"))[0] for group in groups), default=0.0)
    error = 100 * sqrt(final * (1 - final) / test_size)
    yield (
        f"Pairs have the same seed. {test_size:,} test images alone make one accuracy "
        f"uncertain by {error:.2f} points (standard error)."
    )


def machines(results: Iterable[Result]) -> Iterator[str]:
    """What the trainings ran on."""
    seen: dict[tuple, float] = {}
    for result in results:
        for run in result.runs:
            versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
            key = (
                run["device"],
                run["cores"],
                run["threads"],
                run["system"],
                versions,
                run["commit"] or "-",
            )
            seen[key] = seen.get(key, 0) + run["seconds"]
    rows = [(*key, duration(seconds)) for key, seconds in seen.items()]
    yield _table(
        ("device", "cores", "threads", "system", "versions", "commit", "time"), rows, "lrrlllr"
    )
    yield "Seeds: `random_seed` is 1000 x round + seed, for every arm of a round the same."


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _mean(values: Sequence[float]) -> str:
    return _percent(sum(values) / len(values)) if values else "-"


def _spread(values: Sequence[float]) -> str:
    middle, sd = mean_sd(values)
    return _percent(middle) + (f" ± {100 * sd:.2f}" if sd is not None else "")


def _points(values: Sequence[float]) -> str:
    middle, sd = mean_sd(values)
    return f"{100 * middle:+.2f}" + (f" ± {100 * sd:.2f}" if sd is not None else "")


def _range(values: Sequence[float], form: str = "{:,}") -> str:
    texts = [form.format(value) for value in (min(values), max(values))]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def _table(header: Sequence, rows: Iterable[Sequence], align: str) -> str:
    rules = {"l": ":--", "r": "--:"}
    lines = [header, [rules[a] for a in align], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
