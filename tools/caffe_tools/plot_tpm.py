"""Plot a TPM measurement: one row a layer, the histogram of its kernels and its entropy.

The layers to split are in colour, their fast and slow kernels apart: those of --plan, or else
those that `python -m netgen plan` would choose on its own.
"""

from __future__ import annotations

import argparse
import os
from functools import partial

from netgen import growth
from netgen.commandline import Parser, run
from netgen.errors import CaffeError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parse(arguments)
    measured = growth.read_tpm(options.tpm)
    mean = measured.mean_corrected_entropy
    if options.plan:
        plan = growth.read_plan(options.plan)
        check(plan, measured, options)
        factor = plan.meta.get("factor")
        factor = factor if isinstance(factor, (int, float)) else None
    else:
        plan = growth.make_plan(measured) if growth.select(measured) else growth.Plan(())
        factor = growth.FACTOR
    thresholds = factor and [measured.threshold(layer, factor) for layer in measured.layers]
    from caffe_tools.figures.tpm import draw, figure_size
    from caffe_tools.figures.view import Picture  # only now, as matplotlib takes its time to load

    output = options.output or os.path.splitext(options.tpm)[0] + ".png"
    picks = {layer.layer: layer for layer in plan.layers}
    view = Picture(
        output, partial(draw, picks=picks, mean=mean, thresholds=thresholds), figure_size(measured)
    )
    view.show(measured)
    view.finish()
    return 0


def check(plan: growth.Plan, measured: growth.Measurement, options: argparse.Namespace) -> None:
    """Raise CaffeError where the plan is not of this measurement."""
    outputs = {layer.name: layer.num_output for layer in measured.layers}
    for layer in plan.layers:
        where = f"{options.plan}: layer {layer.layer!r}"
        if layer.layer not in outputs:
            raise CaffeError(f"{where} is not in {options.tpm}")
        if layer.num_output != outputs[layer.layer]:
            raise CaffeError(
                f"{where} has {layer.num_output} outputs, in {options.tpm} {outputs[layer.layer]}"
            )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = Parser.documented("plot_tpm", __doc__)
    parser.add_argument("tpm", metavar="TPM.json", help="of python -m netgen tpm --json")
    parser.add_argument("--plan", metavar="FILE", help="of python -m netgen plan")
    parser.add_argument(
        "-o", dest="output", metavar="FILE", help="picture: .png, .pdf, .svg, ... (TPM.png)"
    )
    return parser.parse_args(arguments)


def command() -> None:
    """Run the command as a program of its own."""
    run(main)


if __name__ == "__main__":
    command()
