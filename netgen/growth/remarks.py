"""What a reader should know of a TPM measurement before he trusts its numbers: lines of text."""


def left_out(chosen):
    """Of Convolutions that are not measured."""
    lines = []
    if chosen.fixed:
        lines.append(f"left out, lr_mult 0: {', '.join(chosen.fixed)}")
    lines += [
        f"layer '{name}' shares the weights of '{owner}' and is measured there"
        for name, owner in chosen.elsewhere.items()
    ]
    return lines


def spacing(iterations, window=None):
    """Of snapshots at these iterations, in order, for the window that was asked for."""
    lines, steps = [], step_lengths(iterations)
    if len(iterations) < 3:
        lines.append("only 2 snapshots: a single step is always straight")
    if len(steps) > 1:
        lines.append(
            f"the snapshots are not equally spaced (steps of {_list(steps)} iterations): "
            "a longer step hides more of the way"
        )
    if window and max(iterations[0] - window[0], window[1] - iterations[-1]) >= steps[0]:
        lines.append(
            f"the window {window[0]} to {window[1]} has snapshots only from "
            f"{iterations[0]} to {iterations[-1]}"
        )
    return lines


def step_lengths(iterations):
    """The different distances from snapshot to snapshot, the shortest first."""
    return sorted({b - a for a, b in zip(iterations, iterations[1:], strict=False)})


def dropped(rate_drops, start):
    """Of drops of the learning rate (see rates.drops) in a window that starts at `start`."""
    if not rate_drops:
        return []
    places = [
        f"at {first}" if first == last else f"from {first} to {last}" for first, last in rate_drops
    ]
    if rate_drops[0][0] == start:  # a solver state tells no more
        places[0] += " or at its start"
    return [
        f"the learning rate dropped inside the window ({_list(places)}), which changes TPM "
        "by itself"
    ]


def dead(layers):
    """Of dead kernels in the measured layers."""
    return [
        f"layer '{layer['name']}': {sum(layer['dead'])} of {layer['num_output']} kernels are "
        "dead (only their decay moves them)"
        for layer in layers
        if any(layer["dead"])
    ]


def _list(values):
    shown = [str(value) for value in values[:4]] + ["..."] * (len(values) > 4)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
