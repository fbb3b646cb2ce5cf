"""Where a figure is shown: in a window, or as a picture file that is kept fresh."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from matplotlib import rc_context
from matplotlib.figure import Figure

from netgen.commandline import say
from netgen.schema import SchemaError, writing
from runner.log import LogError

LARGEST_WINDOW = (14, 9)  # inches
Draw = Callable[[Figure, Any], None]  # fills a figure with what is to be shown


class View(Protocol):
    """Where a figure is shown, and again each time that there is more to show."""

    def show(self, shown: Any) -> None: ...

    def wait(self, seconds: float) -> bool: ...

    def finish(self) -> None: ...


def open_view(picture: str, windowed: bool, draw: Draw, size: tuple[float, float]) -> View:
    """A window if it is to be `windowed` and there is a display, else the file `picture`.

    size: the figure's width and height in inches.
    """
    if windowed and has_display():
        from matplotlib import pyplot

        shown = [min(length, most) for length, most in zip(size, LARGEST_WINDOW, strict=True)]
        figure = pyplot.figure("plot_loss", figsize=shown, layout="constrained")
        if figure.canvas.required_interactive_framework:
            return Window(figure, pyplot, draw)
        pyplot.close(figure)  # there is no toolkit to make windows with
    return Picture(picture, draw, size)


def has_display() -> bool:
    """Whether there may be a display; False where a window is out of the question."""
    displays = ("MPLBACKEND", "DISPLAY", "WAYLAND_DISPLAY")
    return not sys.platform.startswith("linux") or any(map(os.environ.get, displays))


@contextmanager
def literally() -> Iterator[None]:
    """Where names of nets, layers and files are drawn as they are: no $ begins mathematics.

    A character that no font has is a box, and no more is said of it.
    """
    names = ("text.parse_math", "text.usetex", "axes.formatter.use_mathtext")
    with rc_context(dict.fromkeys(names, False)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


class Picture:
    """A file, replaced as a whole: whoever looks at it never sees half a picture."""

    def __init__(self, path: str, draw: Draw, size: tuple[float, float]):
        self.path, self._draw, self._size = path, draw, size
        self._news: str | None = None
        self._format = os.path.splitext(path)[1][1:].lower()
        formats = Figure().canvas.get_supported_filetypes()
        if self._format not in formats:
            raise LogError(f"{path}: pictures are {', '.join(sorted(formats))}")

    def show(self, shown: Any) -> None:
        """Write the picture. Raises LogError where that cannot be done."""
        with literally():
            figure = Figure(figsize=self._size, layout="constrained")
            self._draw(figure, shown)
            try:
                with writing(self.path) as file:
                    figure.savefig(file, format=self._format, dpi=120)
            except SchemaError as error:
                raise LogError(f"{error}; -o FILE writes elsewhere") from None
        if self._news is None:
            self._news = f"{self.path}: kept fresh until all runs end (or Ctrl-C)"

    def wait(self, seconds: float) -> bool:
        """Wait before the next look; returns whether there is to be one."""
        if self._news:
            say(self._news)
            self._news = ""
        time.sleep(seconds)
        return True

    def finish(self) -> None:
        """Say that the last picture is written."""
        say(f"Wrote {self.path}")


class Window:
    """A window of matplotlib's; it stays until it is closed."""

    def __init__(self, figure: Figure, pyplot: Any, draw: Draw):
        self._figure, self._pyplot, self._draw = figure, pyplot, draw
        self._whole = None  # the limits of the axes, unless the user zooms

    def show(self, shown: Any) -> None:
        """Draw anew; a part that the user has zoomed into stays in view until `home`."""
        before, toolbar = self._limits(), self._figure.canvas.toolbar
        zoomed = self._whole and before != self._whole
        with literally():
            self._draw(self._figure, shown)
        first, self._whole = self._whole is None, self._limits()
        if toolbar:
            toolbar.update()
            toolbar.push_current()
        if zoomed:
            for axes, (x, y) in zip(self._figure.axes, before, strict=False):
                axes.set(xlim=x, ylim=y)
            if toolbar:
                toolbar.push_current()
        self._figure.canvas.draw_idle()
        if first:
            self._pyplot.show(block=False)

    def _limits(self) -> list:
        return [(axes.get_xlim(), axes.get_ylim()) for axes in self._figure.axes]

    def wait(self, seconds: float) -> bool:
        """Let the window live for so long; returns whether it is still open."""
        self._figure.canvas.start_event_loop(seconds)  # pause() would take the focus each time
        return self._pyplot.fignum_exists(self._figure.number)

    def finish(self) -> None:
        """Keep the window until it is closed."""
        self._pyplot.show(block=True)
