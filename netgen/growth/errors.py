"""What can go wrong in growing a net; each line says in which file, layer and field."""

from netgen.errors import CaffeError


class TpmError(CaffeError):
    """A file that is not the JSON of a TPM measurement; the line names the file and the field."""


class PlanError(CaffeError):
    """A plan that cannot be read or made; the line names the file, the layer and the field."""


class SplitError(CaffeError):
    """A layer that cannot be split as planned; the line says why."""


class TransferError(CaffeError):
    """Weights that do not fit the net they are said to be of."""
