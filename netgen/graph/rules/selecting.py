"""Filter and BatchReindex (filter_layer.cpp, batch_reindex_layer.cpp)."""

from netgen.graph.errors import require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import dim


@rule("Filter", bottoms=(2, None), tops=(1, None))
def filter_(setup: Setup) -> LayerShapes:
    """The items its last bottom selects; before running, at most all of them."""
    *blobs, selector = setup.bottoms
    require_equal(len(blobs), setup.num_tops, "Filter Layer produces one top per filtered bottom")
    for size in selector[1:]:
        require_equal(1, size, "Selector blob dimensions must be singletons (1), except the first")
    for blob in blobs:
        require_equal(
            dim(selector, 0),
            dim(blob, 0),
            "Each bottom should have the same 0th dimension as the selector blob",
        )
    note = f"the first axis is at most {selector[0]}: it depends on the data"
    return LayerShapes(blobs, note=note)


@rule("BatchReindex", bottoms=2)
def batch_reindex(setup: Setup) -> LayerShapes:
    data, index = setup.bottoms
    require_equal(1, len(index), "the index blob must have one axis")
    return LayerShapes([(index[0], *data[1:])])
