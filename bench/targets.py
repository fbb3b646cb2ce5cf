"""The speed that was aimed at on a CPU, and whether it was reached."""

from bench.interleave import summary, times_faster

CAFFE = {"allcnn-c": 1.8}  # times as fast as C++ Caffe
CAFFE_OTHERS = 1.5
BY_HAND = 0.97  # of the faster hand-written loop, of steps over SLOW seconds
SLOW = 0.050
SMALL = {"lenet": 0.8}  # of a net of steps so small that Python counts
OVERHEAD = 3  # per cent of a step: data, log, update and the solver's loop


def targets(results):
    """[[target, measured, "reached" or how far]] of the training steps that were measured."""
    rows = []
    for row in results["training"]:
        rows += _of_net(row)
    return rows


def _of_net(row):
    net, seconds, parts = row["net"], row["seconds"], row["parts"]
    if "C++ Caffe" in seconds:
        target = CAFFE.get(net, CAFFE_OTHERS)
        yield _at_least(
            f"{net}: {target} x C++ Caffe",
            target,
            times_faster(seconds["ours"], seconds["C++ Caffe"])["median"],
        )
    fastest = min(
        (name for name in ("by hand", "compiled") if name in seconds),
        key=lambda name: summary(seconds[name])["median"],
    )
    ratio = times_faster(seconds["ours"], seconds[fastest])["median"]
    slow = summary(seconds["ours"])["median"] > SLOW
    target = SMALL.get(net, BY_HAND if slow else None)
    if target is not None:
        yield _at_least(f"{net}: {target} x the hand-written loop ({fastest})", target, ratio)
    if slow and net not in SMALL:
        total = sum(parts.values())
        share = 100 * (total - parts["net"]) / total
        reached = "reached" if share < OVERHEAD else f"{share - OVERHEAD:.1f} over"
        yield [
            f"{net}: data, log and solver under {OVERHEAD} % of the step",
            f"{share:.1f} %",
            reached,
        ]


def _at_least(what, target, value):
    reached = "reached" if value >= target else f"{100 * (1 - value / target):.0f} % short"
    return [what, f"{value:.2f}", reached]
