"""What can be said of a net without running it. See README.md."""

from netgen.graph import rules  # noqa: F401  (importing it registers every rule)
from netgen.graph.connections import Connections, connections
from netgen.graph.errors import NetError, UnknownShapeError
from netgen.graph.filter import filter_net
from netgen.graph.geometry import Geometry, PoolGeometry, conv_geometry, pool_geometry
from netgen.graph.infer import LayerInfo, infer
from netgen.graph.registry import LayerShapes, layer_shapes, layer_types
from netgen.graph.shape import canonical_axis, shape_string
from netgen.graph.sharing import check_shared_shape, note_multipliers, param_owners
from netgen.graph.source import record_shape
from netgen.graph.splits import insert_splits

LAYER_TYPES = layer_types()

__all__ = [
    "LAYER_TYPES",
    "Connections",
    "Geometry",
    "LayerInfo",
    "LayerShapes",
    "NetError",
    "PoolGeometry",
    "UnknownShapeError",
    "canonical_axis",
    "check_shared_shape",
    "connections",
    "conv_geometry",
    "filter_net",
    "infer",
    "insert_splits",
    "layer_shapes",
    "note_multipliers",
    "param_owners",
    "pool_geometry",
    "record_shape",
    "shape_string",
]
