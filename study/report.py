"""Write the report of a study: report.md, and report.html with everything in one file.

Of an unfinished study it tells what there is. The nets are drawn where Graphviz is at hand. The
package markdown makes the page of the Markdown.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from caffe_tools.draw_net import NoGraphviz, render
from netgen.commandline import Parser, run, say
from netgen.errors import CaffeError, printable
from netgen.schema import read_json, write_bytes
from study import text
from study.arms import SPLIT
from study.effects import effects
from study.plan import script
from study.results import collect, groups
from study.settings import read_settings
from study.trainings import Training, trainings

TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 78rem;
        margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-size: .85rem }}
th, td {{ border: 1px solid #ccc; padding: .3rem .6rem; vertical-align: top }}
th {{ background: #f4f4f4 }}
img {{ max-width: 100% }}
pre {{ background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .75rem }}
summary {{ cursor: pointer; font-weight: bold }}
</style></head><body>
{body}
</body></html>
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = Parser(prog="study_report", description=__doc__.partition("\n\n")[0])
    parser.add_argument("study", metavar="DIR", help="folder of python -m study")
    out = parser.parse_args(arguments).study.rstrip("/")
    blocks = list(report(out))
    write_bytes("\n\n".join([*blocks, ""]).encode(), f"{out}/report.md")
    page = to_html(blocks, out)
    write_bytes(page.encode(), f"{out}/report.html")
    say(f"Wrote {out}/report.md and {out}/report.html")
    return 0


def report(out: str) -> Iterator[str]:
    """The blocks of the Markdown. Writes the figures on the way. Raises CaffeError, LogError."""
    settings = read_settings(out)
    planned = list(trainings(settings, out))
    results = collect(planned)
    if not results:
        raise CaffeError(f"{out}: no training is complete, so there is nothing to report")
    left_out = [training for training in planned if training.left_out]
    possible = len(planned) - len(left_out)
    grouped, done = groups(results), len(results) == possible
    found = effects(grouped)
    yield from text.heading(settings, len(results), possible, found, left_out)
    from study import figures  # only now, as matplotlib takes its time to load

    folder = f"{out}/figures"
    os.makedirs(folder, exist_ok=True)
    shown = ([found.primary] if found.primary else []) + list(found.secondary)
    if done and shown:
        name = figures.intervals(folder, shown, settings.claim)
        yield f"![differences between arms](figures/{name})"
    yield from text.results(grouped, settings)
    if len(found.collapsed) < len(results):
        yield f"![final accuracies](figures/{figures.finals(folder, grouped)})"
    if done:
        yield from text.comparison(found, settings, grouped)
    if len(found.collapsed) < len(results):
        yield "## What it cost"
        yield f"![accuracy against cost](figures/{figures.costs(folder, grouped)})"
        yield "## Curves"
        yield f"![parents and children](figures/{figures.chains(folder, results)})"
    for seed, name in figures.curves(folder, results).items():
        yield f"![loss and accuracy, seed {seed}](figures/{name})"
    yield from splits(out, [r.training for r in results if r.training.arm is SPLIT])
    yield from text.conditions(settings)
    yield "## How it was run"
    yield from text.machines(results)
    yield (
        "`study.train_to_end` runs `caffe train -solver SOLVER`, with `-weights FILE`, or with "
        "`-snapshot STATE` where it goes on. All commands, as they are typed in an empty folder:"
    )
    yield _details("commands", "\n".join(script(settings, out)))


def splits(out: str, split: Iterable[Training]) -> Iterator[str]:
    """What was measured, chosen and made, round by round."""
    for training in split:
        if training.is_first:
            yield f"## Round {training.round}: what was split"
            yield from _round(out, training)
        else:
            plan = read_json(training.plan)
            names = ", ".join(text.code(layer["layer"]) for layer in plan["layers"])
            yield f"Round {training.round}, seed {training.seed} splits {names}."


def _round(out: str, training: Training) -> Iterator[str]:
    plan, verified = read_json(training.plan), read_json(training.verified)
    yield "\n".join(
        f"- {text.code(layer['layer'])}: {text.literal(layer['why'])}" for layer in plan["layers"]
    )
    warnings = read_json(training.measured)["warnings"]
    if warnings:
        yield "Of the window:\n\n" + "\n".join(f"- {text.literal(warning)}" for warning in warnings)
    difference = verified["random"]["difference"]
    yield (
        f"Right after the split the scores differ from the parent's by at most {difference:.2g} "
        "of the largest one, on random input."
    )
    yield f"![TPM]({os.path.relpath(training.plot, out)})"
    table = Path(training.measured_table).read_text(encoding="utf-8")
    yield _details("TPM ratio entropies", table.rstrip())
    yield from _drawings(out, training)


def _drawings(out: str, training: Training) -> Iterator[str]:
    files = [one.drawing for one in (training.parent, training)]
    try:
        for path in files:
            picture = render(Path(path).read_text(encoding="utf-8"), "svg")
            write_bytes(picture, _svg(path))
        images = " | ".join(f"![net]({os.path.relpath(_svg(path), out)})" for path in files)
        yield f"| before | after |\n| :-- | :-- |\n| {images} |"
        yield (
            "Yellow: convolutions. Of a split, orange: the fast part; blue: the slow part; "
            "green: what is beside it; purple: what joins them."
        )
    except NoGraphviz as error:
        yield f"No drawings, as {error}. What it would draw:"
        for path in files:
            yield _details(os.path.relpath(path, out), Path(path).read_text(encoding="utf-8"))


def _svg(path: str) -> str:
    return path.removesuffix(".dot") + ".svg"


class Html(str):
    """A block of a report that is HTML already. What was not written here is escaped in it."""


def _details(summary: str, content: str) -> Html:
    content = "\n".join(map(printable, content.split("\n")))
    summary, content = (html.escape(text, quote=False) for text in (printable(summary), content))
    return Html(f"<details><summary>{summary}</summary>\n<pre>{content}</pre>\n</details>")


def to_html(blocks: Sequence[str], folder: str) -> str:
    """One page of a report's blocks with all pictures in it, which are files below `folder`.

    HTML is text in it, but for that of Html blocks. Raises CaffeError where the package markdown
    is not installed, and for a picture that does not lie in the folder.
    """
    try:
        from markdown import Markdown
    except ImportError:
        raise CaffeError(
            "report.html needs the package markdown (pip install markdown); report.md is written"
        ) from None

    def embed(match: re.Match[str]) -> str:
        path = os.path.realpath(os.path.join(folder, html.unescape(match[2])))
        if os.path.commonpath([path, own]) != own:
            raise CaffeError(f"{folder}/{match[2]}: leads out of the study's folder, to {path}")
        data = base64.b64encode(Path(path).read_bytes()).decode()
        return f'{match[1]}="data:{TYPES[os.path.splitext(path)[1]]};base64,{data}"'

    own = os.path.realpath(folder)
    convert = Markdown(extensions=["tables"])
    convert.preprocessors.deregister("html_block")
    convert.inlinePatterns.deregister("html")
    body = "\n".join(
        block
        if isinstance(block, Html)
        else re.sub(r'(<img [^>]*src)="([^"]+)"', embed, convert.reset().convert(block))
        for block in blocks
    )
    title = blocks[0].partition("\n")[0].lstrip("# ")
    return PAGE.format(title=html.escape(title), body=body)


if __name__ == "__main__":
    run(main)
