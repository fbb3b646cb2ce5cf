"""RESULTS.md from what was measured."""

from bench.ceilings import SIZE, gflops, images_per_second
from bench.interleave import summary, times_faster
from bench.targets import targets

NAMES = {"allcnn-c": "All-CNN-C", "lenet": "LeNet", "resnet20": "ResNet-20"}


def report(results):
    """The page, markdown; sections that were not measured are left out."""
    lines = ["# Measured speed", "", *_about(results)]
    for name, write in SECTIONS.items():
        if name in results:
            lines += ["", *write(results)]
    return "\n".join(lines) + "\n"


def table(head, rows):
    """The lines of a markdown table; all columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(map(str, row)) + " |" for row in (head, rule, *rows)]


def spread(values, scale=1, digits=None):
    """`median (min to max)` of some numbers times `scale`."""
    found = summary(values)
    median, least, most = (_number(scale * found[key], digits) for key in ("median", "min", "max"))
    return f"{median} ({least} to {most})"


def _number(value, digits=None):
    """Three significant digits, or so many behind the point."""
    if digits is not None:
        return f"{value:.{digits}f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 1
        else f"{value:.3g}"
    )


def measured_on(about):
    """The line that says on what, with what and when something was measured."""
    machine = about["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['device']}, {machine['cores']} cores, {machine['threads']} threads, "
        f"{machine['system']}; {versions}; commit {machine['commit']}; {about['date']}; "
        f"{about['minutes']:.0f} minutes, load before {about['load']:.1f}."
    )


def _about(results):
    about = results["about"]
    lines = [
        measured_on(about),
        "",
        "Written by `make bench`; [README.md](README.md) says what is compared with what. "
        "Figures are medians of n rounds with least and most; candidates take turns in each "
        "round, and ratios are taken round by round.",
    ]
    if about["quick"]:
        lines += [
            "",
            "**--quick: narrow nets and few rounds, to see that everything runs. "
            "These are not results.**",
        ]
    return lines


# --- training ---


def _training(results):
    rows = results["training"]
    lines = [
        "## Training step",
        "",
        "Images/s of `caffe train`'s step (prototxt, LMDB, augmentation, dropout, update, "
        "log), of the same net by hand in PyTorch (channels_last, data in memory), of that "
        "with `torch.compile`, and of C++ Caffe. Before measuring, both nets get the same "
        "weights: loss, gradient and output agreed to "
        f"{max(max(row['differences'].values()) for row in rows):.0e} of their norms.",
        "",
    ]
    head = ["net", "batch", "ours", "by hand", "compiled", "C++ Caffe", "n"]
    lines += table(
        head,
        [
            [
                _title(row),
                row["batch"],
                *(_images(row, name) for name in CANDIDATES),
                f"{len(row['seconds']['ours'])} x {row['steps']}",
            ]
            for row in rows
        ],
    )
    lines += [
        "",
        "Ours is so many times as fast; the ceiling is what the net's multiply-adds "
        f"would take as float32 products of {SIZE} x {SIZE}, whose turn came in the same "
        "rounds:",
        "",
    ]
    lines += table(
        ["net", *CANDIDATES[1:], "ms a step", "of the ceiling", "ceiling, images/s"],
        [
            [
                _title(row),
                *(_ratio(row, name) for name in CANDIDATES[1:]),
                spread(row["seconds"]["ours"], 1000),
                *_ceiling(row),
            ]
            for row in rows
        ],
    )
    lines += ["", "Where our step goes, per cent:", ""]
    lines += table(
        ["net", "forward and backward", "data", "update", "log", "rest of the solver"],
        [
            [
                _title(row),
                *(
                    _number(100 * row["parts"][part] / sum(row["parts"].values()))
                    for part in ("net", "data", "update", "log", "solver")
                ),
            ]
            for row in rows
        ],
    )
    compiled = [
        f"{_title(row)} {row['compile seconds']:.0f} s" for row in rows if "compile seconds" in row
    ]
    if compiled:
        lines += ["", f"torch.compile took {', '.join(compiled)} before its first step."]
    return lines


CANDIDATES = ("ours", "by hand", "compiled", "C++ Caffe")


def _title(row):
    name = NAMES.get(row["net"], row["net"])
    return name if row["width"] == 1 else f"{name}, width {row['width']:g}"


def _images(row, name):
    seconds = row["seconds"].get(name)
    return "-" if seconds is None else spread([row["batch"] / value for value in seconds])


def _ratio(row, name):
    others = row["seconds"].get(name)
    if others is None:
        return "-"
    found = times_faster(row["seconds"]["ours"], others)
    return f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


def _ceiling(row):
    ceiling = images_per_second(gflops(SIZE, summary(row["product"])["median"]), row["training"])
    rate = row["batch"] / summary(row["seconds"]["ours"])["median"]
    return f"{100 * rate / ceiling:.0f} %", _number(ceiling)


def _ceilings(results):
    found = results["ceilings"]
    return [
        "## The machine",
        "",
        f"With {found['threads']} threads of PyTorch's own kernels, n = "
        f"{len(found['copy'])}. A net's ceiling counts two operations a multiply-add, for the "
        "forward pass, the weights' gradients and the inputs' (where something before them "
        "learns); all else would have to be free.",
        "",
        *table(
            ["", "median (least to most)"],
            [
                *(
                    [f"float32 product of {size} x {size}, GFLOP/s", spread(values)]
                    for size, values in found["gemm"].items()
                ),
                ["copy of 1 GiB, GB/s read and written", spread(found["copy"])],
            ],
        ),
    ]


# --- the rest ---


def _whole(results):
    found = results["whole"]
    ours = found["seconds"]["`caffe train`"]
    return [
        "## Whole processes",
        "",
        f"{NAMES.get(found['net'], found['net'])}, batch {found['batch']}: "
        f"{found['steps']} steps after the first one, "
        f"n = {len(ours)}. Here our process has the settings that `caffe` makes (waiting "
        "threads sleep, freed memory is kept) and the script has PyTorch's own; in the table "
        "above both have ours.",
        "",
        *table(
            ["", "ms a step", "times as slow as ours", "peak memory, MB"],
            [
                [
                    name,
                    spread(seconds, 1000),
                    f"{times_faster(ours, seconds)['median']:.2f}",
                    _number(found["rss"][name] / 1e6),
                ]
                for name, seconds in found["seconds"].items()
            ],
        ),
    ]


def _commands(results):
    found = results["commands"]
    n = len(next(iter(found["seconds"].values())))
    return [
        "## Commands",
        "",
        f"Seconds from Enter, n = {n}.",
        "",
        *table(
            ["", "s"],
            [[name, spread(values, digits=2)] for name, values in found["seconds"].items()],
        ),
        "",
        f"parse_log reads {spread(found['parse_log'])} MB/s of a log of "
        f"{found['log megabytes']:.0f} MB, its start not counted.",
    ]


def _preparation(results):
    found = results["preparation"]
    return [
        "## Data preparation",
        "",
        f"{found['images']:,} images of 3x32x32, n = 1. The floor is what the stage cannot do "
        "without, called bare.",
        "",
        *table(
            ["stage", "s", "floor, s", "times the floor", "the floor"],
            [
                [
                    name,
                    _number(row["ours"]),
                    _number(row["floor"]) if row["floor"] else "-",
                    _number(row["ours"] / row["floor"]) if row["floor"] else "-",
                    row["what"],
                ]
                for name, row in found["stages"].items()
            ],
        ),
    ]


def _snapshots(results):
    found = results["snapshots"]
    size = found["bytes"] / 1e6
    return [
        "## Snapshot",
        "",
        f"All-CNN-C, {size:.1f} MB in three files, n = {len(found['seconds'])}: "
        f"{spread(found['seconds'], 1000)} ms, "
        f"{size / summary(found['seconds'])['median']:.0f} MB/s.",
    ]


def _together(results):
    rows = results["together"]
    return [
        "## Two nets at once",
        "",
        f"`caffe train -solver one.prototxt,two.prototxt`: {rows[0]['count']} nets on "
        f"{rows[0]['threads']} threads, images/s of both; "
        f"n = {len(rows[0]['seconds']['at once'])}.",
        "",
        *_compared(rows, "one after the other", "at once"),
    ]


def _workers(results):
    rows = results["workers"]
    first, second = rows[0]["seconds"]
    return [
        "## Two workers",
        "",
        "`torchrun -m runner train` (gloo) beside one process, images/s with the same images "
        f"a step; n = {len(rows[0]['seconds'][first])}.",
        "",
        *_compared(rows, first, second),
    ]


def _compared(rows, first, second):
    """images/s of two candidates, a row a net."""

    def rates(row, name):
        return spread([row["images"] / seconds for seconds in row["seconds"][name]])

    return table(
        ["", first, second, "ratio"],
        [
            [
                _title(row),
                rates(row, first),
                rates(row, second),
                spread(
                    [
                        a / b
                        for a, b in zip(
                            *(row["seconds"][name] for name in (first, second)), strict=True
                        )
                    ]
                ),
            ]
            for row in rows
        ],
    )


_AXES = {
    "batch": ("batch size", "All-CNN-C at half width"),
    "width": ("width", "All-CNN-C, batch 32"),
    "depth": ("layers", "ResNet, batch 32"),
    "records": (
        "records",
        "LeNet, batch 64; decoded into memory, or read from the LMDB "
        "while training (as where `CAFFE_DATA_MEMORY` is too small)",
    ),
}


def _scaling(results):
    lines = ["## Scaling"]
    for axis, rows in results["scaling"].items():
        name, what = _AXES[axis]
        first, second = rows[0]["seconds"]
        n = len(rows[0]["seconds"][first])
        head = [name, f"{first}, ms a step", f"{second}, ms a step", f"{second} / {first}"]
        extra = [f"{first}: s to open", f"{second}: s to open"] if "opening" in rows[0] else []
        lines += [
            "",
            f"{what}; n = {n}.",
            "",
            *table(
                [*head, *extra],
                [
                    [
                        f"{row['value']:,}",
                        *(spread(row["seconds"][key], 1000) for key in (first, second)),
                        f"{times_faster(row['seconds'][first], row['seconds'][second])['median']:.2f}",
                        *(
                            _number(row["opening"][key])
                            for key in (first, second)
                            if "opening" in row
                        ),
                    ]
                    for row in rows
                ],
            ),
        ]
    return lines


def _targets(results):
    return ["## Targets", "", *table(["target", "measured", ""], targets(results))]


SECTIONS = {
    "training": lambda results: [*_targets(results), "", *_training(results)],
    "ceilings": _ceilings,
    "whole": _whole,
    "commands": _commands,
    "preparation": _preparation,
    "snapshots": _snapshots,
    "together": _together,
    "workers": _workers,
    "scaling": _scaling,
}
