"""netgen: Caffe nets as data. See `python -m netgen --help`.

from netgen import NetSpec, layers as L, params as P
"""

__version__ = "0.1.0"  # of everything here; setup.py reads it

_BUILDER = ("NetSpec", "assign_proto", "layers", "params", "to_proto")

__all__ = ["__version__", *_BUILDER]


def __getattr__(name: str) -> object:
    # Loaded when asked for: who needs netgen.schema alone should not pay for the builder.
    if name in _BUILDER:
        from netgen import builder

        return getattr(builder, name)
    raise AttributeError(f"module 'netgen' has no attribute '{name}'")
