"""data_prep's stages beside the bare NumPy calls that they cannot do without."""

import hashlib
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep import (
    Dataset,
    ImageOptions,
    Options,
    build_dataset,
    build_images,
    fit_preprocessing,
)

VALUES = 3072


def measure(images):
    """{stage: {"ours": seconds, "floor": seconds or None, "what": the bare calls}}, `images` rows.

    Each runs once, the eigenvectors alone take seconds; the stage and its floor follow each other.
    """
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, VALUES), np.uint8)
    plain = fit_preprocessing(pixels, zca=False)
    gcn = _seconds(lambda: plain.apply(pixels))

    fitted, ours = _timed(lambda: fit_preprocessing(pixels))
    rows = plain.apply(pixels)
    wide = rows.astype(np.float64)
    covariance, products = _timed(lambda: wide.T @ wide)
    (values, vectors), eigh = _timed(lambda: np.linalg.eigh(covariance / images))
    scaled = vectors / np.sqrt(np.maximum(values, 0) + 0.1)
    square = _seconds(lambda: scaled @ vectors.T)

    whole = _seconds(lambda: fitted.apply(pixels))
    matrix = fitted.zca.matrix
    multiply = _seconds(lambda: rows @ matrix)
    return {
        "images": images,
        "stages": {
            "GCN": {"ours": gcn, "floor": None, "what": ""},
            "ZCA, fit": {
                "ours": ours,
                "floor": products + eigh + 2 * square,
                "what": f"XᵀX {products:.2f} s, eigh {eigh:.2f} s, "
                f"two products of 3072² {2 * square:.2f} s, float64",
            },
            "GCN and ZCA, apply": {"ours": whole, "floor": multiply, "what": "X P, float32"},
            "GCN, padding, LMDB, digests": _records(pixels),
            "pictures to records": _pictures(pixels),
        },
    }


def _records(pixels):
    """A whole build without ZCA, beside writing as many bytes to one file and two digests of them.

    One digest is of the records, one of the files.
    """
    labels = np.zeros(len(pixels), np.uint8)
    dataset = Dataset("random", pixels, labels, pixels[:1], labels[:1])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        _, ours = _timed(
            lambda: build_dataset("random", lambda: dataset, Options(zca_bias=None), out)
        )
        size = sum(path.stat().st_size for path in out.rglob("data.mdb"))
        block = bytes(1 << 20)

        def write():
            with open(Path(folder) / "plain", "wb") as file:
                for _ in range(size >> 20):
                    file.write(block)
                    digest.update(block)
                    digest.update(block)
                os.fsync(file.fileno())

        digest = hashlib.sha256()
        floor = _seconds(write)
    return {
        "ours": ours,
        "floor": floor,
        "what": f"{size / 1e6:.0f} MB to a plain file, SHA-256 of them twice",
    }


def _pictures(pixels):
    """A folder of JPEGs to a finished folder, beside decoding them one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, row in enumerate(pixels):
            path = Path(folder) / "pictures" / f"class{number % 10}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(row.reshape(32, 32, 3)).save(path, quality=95)
            paths.append(path)

        def decode():
            for path in paths:
                with Image.open(path) as picture:
                    picture.load()

        floor = _seconds(decode)
        ours = _seconds(
            lambda: build_images(Path(folder) / "pictures", ImageOptions(), Path(folder) / "out")
        )
    what = f"Pillow decodes {len(paths):,} JPEGs on one thread"
    return {"ours": ours, "floor": floor, "what": what}


def _timed(run):
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def _seconds(run):
    return _timed(run)[1]
