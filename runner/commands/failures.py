"""What is said of an error that ends a run: one line for what a user can mend."""

from netgen.errors import CaffeError


def line_of(error):
    """The line for the log; None for an error that only a programmer can mend."""
    if isinstance(error, CaffeError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    text = str(error)
    if isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate" in text):
        return text.splitlines()[0]
    return None
