"""The figures, and where they are shown. matplotlib takes its time: import these where drawn."""

from netgen.errors import CaffeError

try:
    import matplotlib  # noqa: F401  (which reads its settings now)
except ValueError as error:
    line = str(error).partition("; supported")[0]
    raise CaffeError(f"matplotlib's settings (MPLBACKEND, matplotlibrc): {line}") from None
