"""The sections of a study's report, as Markdown: the conclusion first."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite, nan, sqrt

from caffe_tools.best_accuracy import duration
from netgen.errors import printable
from study.arms import BASELINE, CHAIN, RESTART, SPLIT
from study.effects import POINTS, Effects
from study.results import LITTLE, Group, Result
from study.settings import SCALES, Settings
from study.statistics import LEVEL, POWER, Paired, mean_sd, units_needed
from study.trainings import Training

STUDY = (0.909, 0.9206, 0.9247)  # the best test of one run each of baseline, msplit1, msplit2
_CIFAR10 = {"train_size": 50_000, "test_size": 10_000}
_ABOUT = {
    "full": "the study's own net, schedule and length",
    "small": "a narrow net, trained for minutes. It tells how the arms compare with each other at "
    "this size, and nothing of the study's accuracies",
    "tiny": "every stage of the study, each far too short to learn much. It tells that they work, "
    "and nothing of accuracy",
    "changed": "with {changed} of its own, as in the table. What it tells is of this size, not "
    "of the study's accuracies",
}
_SIZE = ("width", "batch_size", "iterations", "base_lr", "lr_policy", "dropout")


def heading(
    settings: Settings,
    done: int,
    planned: int,
    found: Effects,
    left_out: Sequence[Training] = (),
) -> Iterator[str]:
    """The conclusion, and what this is; `done` of the `planned` trainings are complete.

    left_out: those that could not be made, as their parents learnt nothing.
    """
    name = "All-CNN-C on CIFAR-10" if settings.is_allcnn else literal(settings.net)
    yield f"# Case study: {name}, grown by splits"
    yield conclusion(settings, done, planned, found, left_out)
    own, size = SCALES[settings.scale], _SIZE if settings.is_allcnn else ("iterations",)
    changed = [name for name in size if getattr(settings, name) != getattr(own, name)]
    text = _ABOUT["changed" if changed else settings.scale]
    yield f"**Scale `{settings.scale}`**: {text.format(changed=', '.join(changed))}."
    if settings.note:
        yield f"**Note**: {literal(settings.note)}"
    if found.collapsed:
        names = ", ".join(
            f"{r.training.label} of seed {r.training.seed} ({_how(r)})" for r in found.collapsed
        )
        yield (
            f"**Nothing learnt**: {names}. They ended below {LITTLE:g} times what guessing gives, "
            "or with no number; their arms are in no difference below."
        )
    if left_out:
        names = ", ".join(f"{t.label} of seed {t.seed}" for t in left_out)
        yield f"**Left out**, as what they are made of learnt nothing: {names}."


def _how(result: Result) -> str:
    """How a training that learnt nothing ended."""
    if result.diverged is not None:
        return f"diverged by iteration {result.diverged:,}"
    return f"{_percent(result.final)} %" if isfinite(result.final) else "no number"


def conclusion(
    settings: Settings,
    done: int,
    planned: int,
    found: Effects,
    left_out: Sequence[Training] = (),
) -> str:
    """One sentence that the numbers carry, and what they could have shown."""
    claim = f"{settings.claim:g} point{'s' if settings.claim != 1 else ''}"
    if done < planned:
        return (
            f"**No conclusion yet**: {done} of {planned} trainings are complete. Differences "
            "between arms are told when all are, so that no look at them can decide when to stop."
        )
    if found.primary is None:
        other = BASELINE if settings.split_at else RESTART
        gone = {r.training.arm for r in found.collapsed} | {t.arm for t in left_out}
        gone &= {SPLIT, other}
        why = (
            "of "
            + " and ".join(f"`{a.name}`" for a in (SPLIT, other) if a in gone)
            + " some collapsed or were left out"
            if gone
            else f"the arm `{RESTART.name}` is not part of this study"
        )
        alone = "going on unchanged" if settings.split_at else "a restart of the rate alone"
        return f"**Cannot say** whether a split by TPM gains what {alone} does not: {why}."
    final, label = found.primary.final, f"{found.primary.label}"
    what = f"{label} is {_interval(final)} points of final accuracy ({_test(final)})"
    said = found.verdict(settings.claim)
    if found.unfinished_parents(settings.claim) and found.finished:
        return (
            f"**Cannot say**, as the parents had not finished: restarting the rate alone gains "
            f"{_interval(found.finished.final)} points, more than the {claim} claimed of a split; "
            f"{what}."
        )
    if said == "for":
        return f"**For the claim** that a split by TPM gains {claim} or more: {what}."
    if said == "against":
        return (
            f"**Against the claim** that a split by TPM gains {claim} or more: {what}, all of the "
            "interval below it."
        )
    return (
        f"**Cannot say** whether a split by TPM gains {claim} or more: {what}. "
        f"{_could_show(final, settings.claim)}"
    )


def _could_show(found: Paired, claim: float) -> str:
    if found.sd is None:
        return "One seed has no interval; two or more have."
    if found.detectable is None:
        return "The differences of all seeds are equal, which tells nothing of their spread."
    needed = units_needed(claim / found.sd)
    seen = f"differences from {found.detectable:.2f} points on"
    if found.detectable >= POINTS:
        seen = "no difference that accuracies can have"
    return (
        f"With this spread (sd {found.sd:.2f}) {found.n} seeds show {seen} ({POWER:.0%} power), "
        f"and {claim:g} would take {needed or 'over 1,000'} seeds."
    )


def conditions(settings: Settings) -> Iterator[str]:
    """This study's conditions beside the study's, and its figures where they are the same."""
    yield "## Conditions"
    yield _table(("", "this run", "the study"), _compared(settings), "lrr")
    others = [str(row[0]) for row in _compared(settings)[:-1] if str(row[1]) != str(row[2])]
    figures = " %, ".join(_percent(value) for value in STUDY)
    if others:
        yield (
            f"The study's accuracies ({figures} %, the best test of one run each) are not beside "
            f"ours, as these differ: {', '.join(others)}."
        )


def comparable(settings: Settings) -> bool:
    """Whether the study's accuracies were come by as this study's are."""
    return all(str(ours) == str(theirs) for _, ours, theirs in _compared(settings)[:-1])


def _compared(settings: Settings) -> list[tuple]:
    full = SCALES["full"]
    return [
        ("the net", code(settings.net), code(full.net)),
        ("width", f"{settings.width:g}", "1"),
        ("batch size", settings.batch_size, full.batch_size),
        ("iterations of the baseline", *(f"{s.iterations[0]:,}" for s in (settings, full))),
        ("iterations after a split", *(f"{s.after_split:,}" for s in (settings, full))),
        ("learning rate", *(f"{s.base_lr:g}, {literal(s.lr_policy)}" for s in (settings, full))),
        ("dropout", *("yes" if s.dropout else "no" for s in (settings, full))),
        ("training images", f"{settings.train_size:,}", "50,000"),
        ("test images", f"{settings.test_size:,}", "10,000"),
        ("split", *(f"{literal(s.kind)}, weights as in {code(s.init)}" for s in (settings, full))),
        (
            "layers split",
            literal("; ".join(",".join(names) for names in settings.layers))
            or f"entropy from {settings.factor:g} x mean on",
            "entropy from 1.1 x mean on",
        ),
        ("seeds", settings.seeds, 1),
    ]


def results(groups: Sequence[Group], settings: Settings) -> Iterator[str]:
    """The table of nets, and that of seeds."""
    yield "## Results"
    beside = comparable(settings)
    rows = []
    for group in groups:
        row: list[object] = [
            f"**{group.label}**",
            group.arm.title,
            len(group.results),
            _spread(group.values("final")),
            _spread(group.values("best")),
            _percent(max(group.values("best"), default=nan)),
            _range(group.values("parameters")),
            _range([m / 1e6 for m in group.values("multiply_adds")], "{:.1f}"),
            _mean(group.values("before")),
            _mean(group.values("after")),
            _range([r.log.last_iteration for r in group.results]),
            _flops(sum(group.values("flops")) / len(group.results)),
            duration(sum(group.values("seconds")) / len(group.results)) or "-",
        ]
        if beside:
            known = group.arm in CHAIN and group.round < len(STUDY)
            row.insert(6, _percent(STUDY[group.round]) if known else "-")
        rows.append(row)
    header = [
        "net",
        "what it is",
        "n",
        "final, mean ± sd",
        "best, mean ± sd",
        "best of all",
        "parameters",
        "multiply-adds, M",
        "before the split",
        "after it",
        "iterations",
        "training FLOPs",
        "wall time of one",
    ]
    if beside:
        header.insert(6, "the study, best of one run")
    yield _table(header, rows, "ll" + "r" * (len(header) - 2))
    yield (
        "Accuracies are percent of the test images; `final` is the last test of a run, `best` its "
        "best one. ± is the sample standard deviation over n trainings. Multiply-adds: of one "
        "image forward; a training takes six FLOPs for each and image, its tests left out. Before "
        "the split: the parent's last test; after it: the test of the weights that the training "
        "begins with."
    )
    yield "## Final accuracy, seed by seed"
    seeds = sorted({result.training.seed for group in groups for result in group.results})
    table = []
    for seed in seeds:
        finals = [group.by_seed("final").get(seed) for group in groups]
        table.append((seed, *("-" if f is None else _percent(f) for f in finals)))
    yield _table(("seed", *(group.label for group in groups)), table, "r" * (len(groups) + 1))
    drawn = [group for group in groups if len({r.training.draw for r in group.results}) > 1]
    if drawn:
        names = ", ".join(group.label for group in drawn)
        yield f"Of {names} it is the mean of the draws, which count as one in what follows."


def comparison(found: Effects, settings: Settings, groups: Sequence[Group]) -> Iterator[str]:
    """What each round gains, and the split against its controls, paired by seed."""
    if found.gains:
        yield "## What each round gains, in points"
        header = ["difference", "seeds", "final", "p", "best"]
        rows = []
        for effect in found.gains:
            row: list[object] = [
                effect.label,
                effect.final.n,
                _interval(effect.final),
                _p(effect.final.p),
                _interval(effect.best),
            ]
            if comparable(settings):
                place = effect.one.round
                known = place < len(STUDY)
                row.append(f"{POINTS * (STUDY[place] - STUDY[place - 1]):+.2f}" if known else "-")
            rows.append(row)
        if comparable(settings):
            header.append("the study, best of one run")
        yield _table(header, rows, "l" + "r" * (len(header) - 1))
        yield (
            "The parent went on as well: a gain over it is what the split itself brings."
            if settings.split_at
            else "A gain over the parent is also the gain of training on: what the split itself "
            "brings is the difference from the restart, below."
        )
    shown = ([found.primary] if found.primary else []) + list(found.secondary)
    if shown:
        yield "## Differences between arms, in points"
        rows = []
        for effect in shown:
            final = effect.final
            rows.append(
                (
                    f"**{effect.label}**" if effect is found.primary else effect.label,
                    final.n,
                    _interval(final),
                    _p(final.p),
                    "primary" if effect is found.primary else _p(effect.adjusted),
                    _p(final.p_flip),
                    "-" if final.detectable is None else f"{final.detectable:.2f}",
                    _interval(effect.best),
                )
            )
        yield _table(
            (
                "difference",
                "seeds",
                f"final, mean [{LEVEL:.0%}]",
                "p (t)",
                "p (Holm)",
                "p (signs)",
                "could show",
                f"best, mean [{LEVEL:.0%}]",
            ),
            rows,
            "lrrrrrrr",
        )
        yield (
            "Pairs have the same seed. In brackets the interval of Student's t over the seeds; "
            "p (t) of the paired t test, two-sided; p (Holm) the same, adjusted over the "
            "secondary differences together; p (signs) of the exact test by flipping signs, which "
            f"for n seeds is never under 2^(1 - n). Could show: the true difference that so many "
            f"seeds with this spread find with {POWER:.0%} power; a smaller one may be there and "
            "stay unseen."
        )
    means = [mean_sd(group.values("final"))[0] for group in groups]
    final = max((value for value in means if value is not None), default=0.0)
    if settings.test_size:
        error = POINTS * sqrt(final * (1 - final) / settings.test_size)
        yield (
            f"{settings.test_size:,} test images alone make one accuracy uncertain by "
            f"{error:.2f} points (standard error)."
        )


def machines(results: Iterable[Result]) -> Iterator[str]:
    """What the trainings ran on."""
    seen: dict[tuple, float] = {}
    for result in results:
        for run in result.runs:
            versions = literal(", ".join(f"{name} {v}" for name, v in run["versions"].items()))
            key = (
                literal(run["device"]),
                run["cores"],
                run["threads"],
                literal(run["system"]),
                versions,
                literal(run["commit"] or "-"),
            )
            seen[key] = seen.get(key, 0) + run["seconds"]
    rows = [(*key, duration(seconds)) for key, seconds in seen.items()]
    yield _table(
        ("device", "cores", "threads", "system", "versions", "commit", "time"), rows, "lrrlllr"
    )
    yield "Seeds: `random_seed` is 1000 x round + seed, for every arm of a round the same."


def _percent(value: float) -> str:
    return f"{POINTS * value:.2f}" if isfinite(value) else "-"


def _mean(values: Sequence[float]) -> str:
    return _percent(sum(values) / len(values)) if values else "-"


def _spread(values: Sequence[float]) -> str:
    middle, sd = mean_sd(values)
    spread = f" ± {POINTS * sd:.2f}" if sd is not None else ""
    return ("-" if middle is None else _percent(middle)) + spread


def _interval(found: Paired) -> str:
    text = f"{found.mean:+.2f}"
    return text if found.low is None else f"{text} [{found.low:+.2f}, {found.high:+.2f}]"


def _test(found: Paired) -> str:
    seeds = f"n = {found.n} seed{'s' if found.n > 1 else ''}"
    return (
        seeds
        if found.p is None
        else f"{LEVEL:.0%} interval, p {_p(found.p, '= ')}, paired t, {seeds}"
    )


def _p(value: float | None, equal: str = "") -> str:
    if value is None:
        return "-"
    return f"{equal}{value:.3f}" if value >= 0.001 else "< 0.001"


def _flops(value: float) -> str:
    return f"{value:.2e}"


def literal(text: str) -> str:
    """Text that a user gave, to be read as it is: neither HTML nor Markdown."""
    text = html.escape(printable(" ".join(text.split())), quote=False)
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", text).replace("~", "&#126;")


def code(name: str) -> str:
    """A name as a code span, which no character of it can end."""
    return "`" + printable(re.sub(r"[`|\s]", "'", name)) + "`"


def _range(values: Sequence[float], form: str = "{:,}") -> str:
    texts = [form.format(value) for value in (min(values), max(values))]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def _table(header: Sequence, rows: Iterable[Sequence], align: str) -> str:
    rules = {"l": ":--", "r": "--:"}
    lines = [header, [rules[a] for a in align], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
