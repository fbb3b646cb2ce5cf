"""Progress bars: on stderr, and only where that is a terminal."""

from tqdm import tqdm

BAR = {"disable": None, "leave": False, "dynamic_ncols": True}  # None: off unless a terminal


def progress(iterable, what, total=None):
    """The items of `iterable`, counted by a bar named `what`."""
    return tqdm(iterable, desc=what, total=total, **BAR)


def slices(count, size, what):
    """Slices of at most `size` that cover range(count); the bar counts images."""
    with tqdm(total=count, desc=what, unit=" images", **BAR) as bar:
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield slice(start, stop)
            bar.update(stop - start)
