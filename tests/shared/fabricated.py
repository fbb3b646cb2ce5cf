"""Small CIFAR-10s in the official layouts."""

import pickle
import tarfile

import numpy as np

from data_prep import Dataset
from data_prep.dataset import CIFAR10_NAMES

TRAIN_BATCH, TEST_BATCH = 6, 9  # images in each of the five training batches, in the test batch


class Fabricated:
    """Seeded images and labels, and the files that hold them."""

    def __init__(self, train_batch=TRAIN_BATCH, test_batch=TEST_BATCH, seed=0):
        random = np.random.RandomState(seed)
        self.batches = [self._batch(random, n) for n in [train_batch] * 5 + [test_batch]]

    @staticmethod
    def _batch(random, count):
        # Neighbouring pixels are alike, as in photographs.
        coarse = random.randint(0, 256, (count, 3, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
        noise = random.randint(-20, 21, (count, 3, 32, 32))
        images = np.clip(coarse + noise, 0, 255).astype(np.uint8).reshape(count, 3072)
        return images, random.randint(0, 10, count).astype(np.uint8)

    def dataset(self):
        *train, test = self.batches
        images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
        return Dataset("cifar10", images, labels, *test, source={"form": "fabricated"})

    def write_python(self, folder, protocol=2):
        folder.mkdir(parents=True)
        names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
        for name, (images, labels) in zip(names, self.batches, strict=True):
            batch = {
                b"batch_label": name.encode(),
                b"labels": labels.tolist(),
                b"data": images,
                b"filenames": [b"some.png"] * len(images),
            }
            (folder / name).write_bytes(pickle.dumps(batch, protocol))
        meta = {b"label_names": [name.encode() for name in CIFAR10_NAMES], b"num_vis": 3072}
        (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
        return folder

    def write_binary(self, folder):
        folder.mkdir(parents=True)
        names = [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]
        for name, (images, labels) in zip(names, self.batches, strict=True):
            (folder / name).write_bytes(np.hstack([labels[:, None], images]).tobytes())
        (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
        return folder


def pack(folder, archive):
    """The folder as a .tar.gz."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive
