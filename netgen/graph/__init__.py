"""What can be said of a net without running it. See README.md."""

from netgen.graph import rules  # noqa: F401  (importing it registers every rule)
from netgen.graph.connections import (
    Connections,
    check_source,
    connections,
    in_place,
    wholly_in_place,
)
from netgen.graph.errors import NetError, UnknownShapeError
from netgen.graph.filter import filter_net, in_phase, merged_state
from netgen.graph.geometry import Geometry, PoolGeometry, conv_geometry, pool_geometry
from netgen.graph.infer import LayerInfo, infer
from netgen.graph.registry import (
    LayerShapes,
    Setup,
    check_type,
    layer_shapes,
    layer_types,
    rule,
    unknown_type,
)
from netgen.graph.shape import Shape, canonical_axis, shape_string
from netgen.graph.sharing import Learnable, Learnables, param_owners
from netgen.graph.source import record_shape, seg_crop, shorter_side
from netgen.graph.splits import insert_splits

LAYER_TYPES = layer_types()

__all__ = [
    "LAYER_TYPES",
    "Connections",
    "Geometry",
    "LayerInfo",
    "LayerShapes",
    "Learnable",
    "Learnables",
    "NetError",
    "PoolGeometry",
    "Setup",
    "Shape",
    "UnknownShapeError",
    "canonical_axis",
    "check_source",
    "check_type",
    "connections",
    "conv_geometry",
    "filter_net",
    "in_phase",
    "in_place",
    "infer",
    "insert_splits",
    "layer_shapes",
    "merged_state",
    "param_owners",
    "pool_geometry",
    "record_shape",
    "rule",
    "seg_crop",
    "shape_string",
    "shorter_side",
    "unknown_type",
    "wholly_in_place",
]
