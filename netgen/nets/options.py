"""What can be chosen about a bundled net."""

from dataclasses import dataclass

from netgen.checks import check_count, check_number
from netgen.errors import CaffeError

WEIGHT_FILLERS = ("msra", "xavier")


@dataclass(frozen=True)
class NetOptions:
    """The variants of a net; the defaults are the published net. Raises CaffeError.

    batch_size: of training, or of the deploy net. width: factor on every channel count but
    the classes. data: folder of the LMDBs. input_dropout, dropout: ratios on the image and
    inside the net; 0 leaves the layers away.
    """

    batch_size: int | None = None  # 128 in training, 1 in a deploy net
    test_batch_size: int = 100
    width: float = 1.0
    data: str = "data/cifar10"
    weight_filler: str = "msra"
    input_dropout: float = 0.2
    dropout: float = 0.5

    def __post_init__(self):
        if self.batch_size is not None:
            check_count("batch size", self.batch_size)
        check_count("test batch size", self.test_batch_size)
        check_number("width", self.width, above=0, below=100)
        check_number("input dropout", self.input_dropout, least=0, below=1)
        check_number("dropout", self.dropout, least=0, below=1)
        if self.weight_filler not in WEIGHT_FILLERS:
            raise CaffeError(f"Unknown weight filler: '{self.weight_filler}' "
                             f"(known: {', '.join(WEIGHT_FILLERS)})")

    def channels(self, count):
        """A channel count of the full net, scaled by the width; at least 1."""
        return max(1, round(count * self.width))
