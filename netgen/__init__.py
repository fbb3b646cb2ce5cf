"""netgen: Caffe nets as data. See `python -m netgen --help`.

from netgen import NetSpec, layers as L, params as P
"""

_BUILDER = ("NetSpec", "assign_proto", "layers", "params", "to_proto")

__all__ = list(_BUILDER)


def __getattr__(name: str) -> object:
    # Loaded when asked for: who needs netgen.schema alone should not pay for the builder.
    if name in _BUILDER:
        from netgen import builder

        return getattr(builder, name)
    raise AttributeError(f"module 'netgen' has no attribute '{name}'")
