"""Convolutions one after the other as one script, whose calls cost less than those from Python.

oneDNN looks up how to compute a convolution each time that it is called, which takes as long as a
small one takes to compute: of LeNet or ResNet-20 with one image a third of the time. TorchScript
can hand oneDNN whole graphs of operators, which it looks up once. oneDNN's own ReLU and maximum
pooling make numbers of NaN, and a net that has overflowed would seem to be sound, so graphs are of
convolutions and sums alone; a ReLU in between is clamp_min, which they do not know.

TorchScript is no longer developed. Where it is missing, or refuses, nets run without.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator, Sequence

import torch

from runner.net.calls import Call

#: of the largest value; the kernels are the same, so that there is usually no difference at all
TOLERANCE = 1e-4


class Segment:
    """Calls that are run as one; bottoms and tops are numbers of values."""

    def __init__(self, calls: Sequence[Call], read: Collection[int]) -> None:
        """read: numbers of values that are asked for after these calls."""
        made = {number for call in calls for number in call.tops}
        self._calls = calls
        self.bottoms = sorted({number for call in calls for number in call.bottoms} - made)
        self.tops = sorted(made & set(read))

    def trace(self, bottoms: Sequence[torch.Tensor]) -> None:
        """Have `run` do it for bottoms of these shapes; others take it longer."""
        script = torch.jit.trace(self._plain, tuple(bottoms), check_trace=False)
        self.run = lambda values: script(*values)
        for _ in range(2):  # the first finds out shapes, after the second it is as it will be
            self.run(bottoms)

    def _plain(self, *bottoms):
        values = dict(zip(self.bottoms, bottoms, strict=True))
        for call in self._calls:
            values[call.tops[0]] = call.plain(*[values[number] for number in call.bottoms])
        return tuple(values[number] for number in self.tops)


def scripted(
    calls: Sequence[Call], kept: Collection[int], values: dict[int, torch.Tensor]
) -> list[Call | Segment] | None:
    """The steps of a net with its convolutions as Segments; None where that cannot be had.

    kept: numbers of values that are asked for. values: {number: value} of the net's inputs, of the
    shapes that it is made for; it takes all others. What differs from the calls is not taken.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.jit, "enable_onednn_fusion")):
        return None
    steps = list(_segments(calls, kept))
    try:
        with _fusing():
            for step in steps:
                bottoms = [values[number] for number in step.bottoms]
                if isinstance(step, Segment):
                    step.trace(bottoms)
                values.update(zip(step.tops, step.run(bottoms), strict=True))
    except RuntimeError:
        return None
    return steps if _agree(calls, steps, values) else None


def _agree(calls, steps, values):
    """Do the steps give what the calls give?"""
    wanted = dict(values)
    for call in calls:
        tops = call.run([wanted[number] for number in call.bottoms])
        wanted.update(zip(call.tops, tops, strict=True))
    for number in {number for step in steps for number in step.tops}:
        size = wanted[number].abs().nan_to_num(0, 0).amax().item()
        if not torch.allclose(
            values[number], wanted[number], rtol=0, atol=TOLERANCE * size, equal_nan=True
        ):
            return False
    return True


def _segments(calls, kept):
    """The calls, those that follow each other and are `plain` as Segments."""
    run: list[Call] = []
    for index, call in enumerate(calls):
        if call.plain is not None:
            run.append(call)
            if index + 1 < len(calls) and calls[index + 1].plain is not None:
                continue
            read = {number for after in calls[index + 1 :] for number in after.bottoms}
            yield Segment(run, read | set(kept))
            run = []
        else:
            yield call


@contextlib.contextmanager
def _fusing() -> Iterator[None]:
    """With oneDNN's graphs for scripts that are run for the first times."""
    before = torch.jit.onednn_fusion_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is old, and that shapes are fixed
        torch.jit.enable_onednn_fusion(True)
        try:
            yield
        finally:
            torch.jit.enable_onednn_fusion(before)
