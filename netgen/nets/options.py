"""What can be chosen about a bundled net."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from netgen.checks import check_count, check_number
from netgen.errors import CaffeError

WEIGHT_FILLERS = ("msra", "xavier")
_EVERY_NET = ("test_batch_size", "width", "classes", "image_size", "image_channels", "images")


@dataclass(frozen=True)
class NetOptions:
    """The variants of a net. Raises CaffeError.

    None is the published net's own value. batch_size: of training, or of the deploy net, whose
    own is 1. width: factor on every channel count but that of the classes. data: folder of the
    LMDBs. input_dropout, dropout: ratios on the image and inside the net; 0 leaves the layers
    out. classes: outputs of the last layer. image_size: (height, width) of what the net sees, or
    one number for both. image_channels: of the deploy net's input. images: a folder that
    `python -m data_prep images` made, in place of data: the net's records are pixels then, whose
    mean image is subtracted.
    """

    batch_size: int | None = None
    test_batch_size: int = 100
    width: float = 1.0
    data: str | None = None
    weight_filler: str | None = None
    input_dropout: float | None = None
    dropout: float | None = None
    classes: int = 10
    image_size: int | tuple[int, int] | None = None
    image_channels: int | None = None
    images: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_count("batch size", self.batch_size)
        check_count("test batch size", self.test_batch_size)
        check_number("width", self.width, above=0, below=100)
        if self.input_dropout is not None:
            check_number("input dropout", self.input_dropout, least=0, below=1)
        if self.dropout is not None:
            check_number("dropout", self.dropout, least=0, below=1)
        check_count("classes", self.classes, least=2)
        for side in self.image_sides or ():
            check_count("image size", side)
        if self.image_channels is not None:
            check_count("image channels", self.image_channels)
        if self.weight_filler not in (None, *WEIGHT_FILLERS):
            raise CaffeError(
                f"Unknown weight filler: '{self.weight_filler}' "
                f"(known: {', '.join(WEIGHT_FILLERS)})"
            )

    def of_net(self, name: str, deploy: bool, **own: object) -> NetOptions:
        """These options with the net's own values where nothing was chosen.

        own: every option that the net has, with its published value, batch_size being that of
        training. Raises CaffeError where one was chosen that the net does not have, and where both
        data and images say where the records are.
        """
        chosen = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in _EVERY_NET and getattr(self, f.name) is not None
        }
        for option in chosen:
            if option not in own:
                raise CaffeError(f"{name} has no option {option.replace('_', ' ')}")
        if self.images is not None and self.data is not None:
            raise CaffeError("data and images both say where the records are: give one of them")
        if deploy:
            own["batch_size"] = 1
        return replace(self, **{**own, **chosen})

    @property
    def image_sides(self) -> tuple[int, int] | None:
        """(height, width) of image_size, None where the net's own was not changed."""
        if isinstance(self.image_size, int):
            return self.image_size, self.image_size
        return self.image_size

    def channels(self, count: int) -> int:
        """A channel count of the full net, scaled by the width; at least 1."""
        return max(1, round(count * self.width))
