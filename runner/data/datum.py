"""One Datum's bytes to pixels, an encoded image's included."""

from __future__ import annotations

import io

import numpy as np

from netgen.schema import DatumReader, image
from runner.data.errors import DataLayerError


class Decoder(DatumReader):
    """Decodes the records of one source.

    force_color, force_gray: as in transform_param; they change encoded records only. Whether
    one was asked for in vain is seen in `unencoded`: True once a plain record came by.
    """

    def __init__(self, force_color: bool = False, force_gray: bool = False) -> None:
        super().__init__()
        self.force_color = force_color
        self.force_gray = force_gray

    def decode_image(self, data: bytes) -> np.ndarray:
        """An encoded image as OpenCV gives it: BGR(A) or gray, uint8, (C, H, W)."""
        if self.force_color and self.force_gray:
            raise DataLayerError("cannot set both force_color and force_gray")
        color = True if self.force_color else False if self.force_gray else None
        try:
            return image.planes(image.decode(io.BytesIO(data), color))
        except image.UnreadableImage:
            raise DataLayerError("Could not decode datum") from None
