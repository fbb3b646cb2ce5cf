"""What can be wrong with a data source."""

from netgen.errors import CaffeError


class DataLayerError(CaffeError):
    """A source, record or transform_param that cannot be used; one line."""
