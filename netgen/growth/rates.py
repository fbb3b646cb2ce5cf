"""Where inside a window of training the learning rate drops."""

import os

from netgen.errors import CaffeError
from netgen.growth.snapshots import current_step

_STEADY = {"fixed", "step", "multistep"}


def drops(snapshots, solver, warn):
    """[[first, last], ...]: between which iterations the rate dropped, a pair a drop.

    snapshots: Snapshots by iteration. solver: SolverParameter, which tells the iteration itself
    (both numbers are it), or None to look into the solver states beside the snapshots. A drop
    at the window's first iteration is not inside, but states cannot tell it from one right after.
    Returns None where nothing is known, or the rate never rests.
    warn: called with a line about a policy without rest or a solver state that cannot be read.
    """
    if solver is None:
        return _from_states(snapshots, warn)
    begin, end = snapshots[0].iteration, snapshots[-1].iteration
    if solver.lr_policy not in _STEADY:
        warn(f"lr_policy '{solver.lr_policy}' changes the learning rate all the time")
        return None
    steps = ()
    if solver.lr_policy == "multistep":
        steps = sorted(solver.stepvalue)
    elif solver.lr_policy == "step" and solver.stepsize > 0:
        steps = range(solver.stepsize, end, solver.stepsize)
    return [[step, step] for step in steps if begin < step < end]


def _from_states(snapshots, warn):
    seen = []
    for snapshot in snapshots:
        if os.path.exists(snapshot.state):
            try:
                seen.append((snapshot.iteration, current_step(snapshot.state)))
            except CaffeError as error:
                warn(f"left out: {error}")
    if len(seen) < 2:
        return None
    # A state knows the drops up to the update before it: one at iteration N is not yet in N's.
    return [
        [before, after - 1]
        for (before, old), (after, new) in zip(seen, seen[1:], strict=False)
        for _ in range(new - old)
    ]
