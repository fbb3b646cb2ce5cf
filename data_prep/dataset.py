"""A labelled set of images of one size, as every source delivers it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from data_prep.errors import DataError

IMAGE_SHAPE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32
CLASSES = 10
OFFICIAL_COUNTS = (50_000, 10_000)
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer",
                 "dog", "frog", "horse", "ship", "truck")  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """Images are (N, 3072) uint8: 1024 red, 1024 green, 1024 blue values, each row-major.

    Labels are (N,) uint8 in 0..9. `source` says where the images came from, in values
    that JSON can hold. Another image_shape (C, H, W) has that many values. lmdb is the word
    before _train_lmdb and _test_lmdb. Raises DataError where these do not fit together.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    label_names: tuple[str, ...] = CIFAR10_NAMES
    source: dict = field(default_factory=dict)
    image_shape: tuple[int, int, int] = IMAGE_SHAPE
    lmdb: str = "cifar10"

    def __post_init__(self) -> None:
        values = prod(self.image_shape)
        for part, images, labels in self.parts():
            if images.dtype != np.uint8 or images.shape != (len(labels), values):
                raise DataError(
                    f"{part} images: {images.dtype} {images.shape}, "
                    f"expected uint8 ({len(labels)}, {values})"
                )
            if not len(labels):
                raise DataError(f"there are no {part} images")
            if labels.dtype != np.uint8 or labels.max() >= CLASSES:
                raise DataError(
                    f"{part} labels: {labels.dtype} up to {labels.max()}, "
                    f"expected uint8 in 0..{CLASSES - 1}"
                )
        if len(self.label_names) != CLASSES:
            raise DataError(f"{len(self.label_names)} label names for {CLASSES} classes")

    def parts(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """[(name, images, labels)] of the training and the test part."""
        return [
            ("training", self.train_images, self.train_labels),
            ("test", self.test_images, self.test_labels),
        ]

    def first(self, limit: int | None) -> Dataset:
        """The first `limit` images of each part (all of them if limit is None)."""
        return replace(
            self,
            train_images=self.train_images[:limit],
            train_labels=self.train_labels[:limit],
            test_images=self.test_images[:limit],
            test_labels=self.test_labels[:limit],
        )

    def digest(self) -> str:
        """SHA-256 of all pixels and labels, in order: the same whatever the source's form."""
        total = hashlib.sha256()
        for _, images, labels in self.parts():
            total.update(len(labels).to_bytes(8, "little"))
            total.update(np.ascontiguousarray(images))
            total.update(np.ascontiguousarray(labels))
        return total.hexdigest()
