"""What can be chosen about a bundled net."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from netgen.checks import check_count, check_number
from netgen.errors import CaffeError

WEIGHT_FILLERS = ("msra", "xavier")
_EVERY_NET = ("test_batch_size", "width")


@dataclass(frozen=True)
class NetOptions:
    """The variants of a net. Raises CaffeError.

    None is the published net's own value. batch_size: of training, or of the deploy net, whose
    own is 1. width: factor on every channel count but that of the classes. data: folder of the
    LMDBs. input_dropout, dropout: ratios on the image and inside the net; 0 leaves the layers
    out.
    """

    batch_size: int | None = None
    test_batch_size: int = 100
    width: float = 1.0
    data: str | None = None
    weight_filler: str | None = None
    input_dropout: float | None = None
    dropout: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_count("batch size", self.batch_size)
        check_count("test batch size", self.test_batch_size)
        check_number("width", self.width, above=0, below=100)
        if self.input_dropout is not None:
            check_number("input dropout", self.input_dropout, least=0, below=1)
        if self.dropout is not None:
            check_number("dropout", self.dropout, least=0, below=1)
        if self.weight_filler not in (None, *WEIGHT_FILLERS):
            raise CaffeError(
                f"Unknown weight filler: '{self.weight_filler}' "
                f"(known: {', '.join(WEIGHT_FILLERS)})"
            )

    def of_net(self, name: str, deploy: bool, **own: object) -> NetOptions:
        """These options with the net's own values where nothing was chosen.

        own: every option that the net has, with its published value, batch_size being that of
        training. Raises CaffeError where one was chosen that the net does not have.
        """
        chosen = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in _EVERY_NET and getattr(self, f.name) is not None
        }
        for option in chosen:
            if option not in own:
                raise CaffeError(f"{name} has no option {option.replace('_', ' ')}")
        if deploy:
            own["batch_size"] = 1
        return replace(self, **{**own, **chosen})

    def channels(self, count: int) -> int:
        """A channel count of the full net, scaled by the width; at least 1."""
        return max(1, round(count * self.width))
