import pickle
import tarfile

import numpy as np
import pytest

from data_prep import DataError, read_cifar10
from data_prep.dataset import CIFAR10_NAMES


def test_all_four_forms_are_the_same_images(fabricated, tmp_path, pack_folder):
    python = fabricated.write_python(tmp_path / "a" / "cifar-10-batches-py")
    binary = fabricated.write_binary(tmp_path / "b" / "cifar-10-batches-bin")
    sources = [
        python,
        python.parent,
        binary,
        binary.parent,
        pack_folder(python, tmp_path / "cifar-10-python.tar.gz"),
        pack_folder(binary, tmp_path / "some other name.tar.gz"),
    ]
    expected = fabricated.dataset()
    for source in sources:
        found = read_cifar10(source)
        for (_, images, labels), (_, want_images, want_labels) in zip(
            found.parts(), expected.parts(), strict=True
        ):
            assert np.array_equal(images, want_images) and np.array_equal(labels, want_labels)
        assert found.digest() == expected.digest()
        assert found.label_names == CIFAR10_NAMES
    forms = [read_cifar10(source).source for source in sources]
    assert [facts["form"] for facts in forms] == [
        "python",
        "python",
        "binary",
        "binary",
        "python",
        "binary",
    ]
    assert forms[0]["name"] == "cifar-10-batches-py" and not forms[4]["official"]


def test_a_folder_with_the_archive_in_it(python_folder, tmp_path, pack_folder):
    pack_folder(python_folder, tmp_path / "cifar-10-python.tar.gz")
    assert len(read_cifar10(tmp_path).test_labels) == 9


def test_the_digest_sees_pixels_labels_and_parts(fabricated, new_cifar10):
    one = fabricated.dataset()
    digests = {one.digest(), one.first(3).digest(), new_cifar10(seed=1).dataset().digest()}
    assert len(digests) == 3


def refuse(source, *words):
    with pytest.raises(DataError) as caught:
        read_cifar10(source)
    line = str(caught.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_nothing_there(tmp_path):
    refuse(tmp_path / "absent", "absent: no CIFAR-10 there")
    refuse(tmp_path, "no CIFAR-10 there", "cifar-10-batches-py", "cifar-10-binary.tar.gz")


def test_a_batch_missing(fabricated, tmp_path):
    folder = fabricated.write_binary(tmp_path / "cifar-10-batches-bin")
    (folder / "data_batch_3.bin").unlink()
    (folder / "test_batch.bin").unlink()
    refuse(tmp_path, "data_batch_3.bin, test_batch.bin missing")


@pytest.mark.parametrize("change, words", [
    ({b"labels": [1]}, ["1 labels for 6 images"]),
    ({b"labels": [10] * 6}, ["labels from 10 to 10, expected 0 to 9"]),
    ({b"labels": [-1] * 6}, ["labels from -1"]),
    ({b"labels": ["a"] * 6}, ["labels are not a list of integers"]),
    ({b"labels": [[1], [2, 3]]}, ["labels are not a list of integers"]),
    ({b"data": np.zeros((6, 3073), np.uint8)}, ["uint8 (6, 3073), expected uint8 (N, 3072)"]),
    ({b"data": np.zeros((6, 3072), np.int64)}, ["int64 (6, 3072)"]),
    ({b"data": b"abc"}, ["a CIFAR-10 batch has an array 'data'"]),
])  # fmt: skip
def test_a_wrong_python_batch(fabricated, tmp_path, change, words):
    folder = fabricated.write_python(tmp_path / "cifar-10-batches-py")
    images, labels = fabricated.batches[1]
    batch = {b"data": images, b"labels": labels.tolist()} | change
    (folder / "data_batch_2").write_bytes(pickle.dumps(batch))
    refuse(folder, "data_batch_2", *words)


def test_cifar100_is_not_cifar10(fabricated, tmp_path):
    folder = fabricated.write_python(tmp_path / "cifar-10-batches-py")
    batch = {b"data": fabricated.batches[0][0], b"fine_labels": [1] * 6}
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch))
    refuse(folder, "has data, fine_labels; a CIFAR-10 batch has")


def test_a_wrong_binary_batch(fabricated, tmp_path):
    folder = fabricated.write_binary(tmp_path / "cifar-10-batches-bin")
    with open(folder / "test_batch.bin", "ab") as file:
        file.write(b"x")
    refuse(folder, "test_batch.bin: 27658 bytes is no multiple of 3073")
    (folder / "test_batch.bin").write_bytes(bytes([11]) + bytes(3072))
    refuse(folder, "test_batch.bin: labels from 11 to 11")
    (folder / "test_batch.bin").write_bytes(b"")
    refuse(folder, "there are no test images")


def test_wrong_label_names(fabricated, tmp_path):
    python = fabricated.write_python(tmp_path / "cifar-10-batches-py")
    (python / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat"]}))
    refuse(python, "batches.meta: 1 label names, expected 10")
    (python / "batches.meta").unlink()
    assert read_cifar10(python).label_names == CIFAR10_NAMES


def test_damaged_archives(python_folder, tmp_path, pack_folder):
    archive = pack_folder(python_folder, tmp_path / "cifar-10-python.tar.gz")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    refuse(archive, "cifar-10-python.tar.gz: not a whole tar archive")
    archive.write_bytes(whole[:40000] + bytes(100) + whole[40100:])
    refuse(archive, "cifar-10-python.tar.gz")
    archive.write_bytes(b"<html>not here</html>")
    refuse(archive, "not a whole tar archive")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(python_folder / "batches.meta", "something else")
    refuse(archive, "no data_batch_1 or data_batch_1.bin in it")


def test_links_in_an_archive_are_not_followed(tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    refuse(archive, "no data_batch_1")
