import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_prep import (
    DataError,
    Options,
    Preprocessing,
    build_dataset,
    read_cifar10,
    read_lmdb,
    verify,
)
from netgen import schema

PLAIN = Options(zca_bias=None)  # no eigenvectors of a 3072x3072 matrix: quick


def records(folder, part="train"):
    """[(key, image, label)] of an LMDB."""
    out = []
    for key, value in read_lmdb(folder / f"cifar10_{part}_lmdb"):
        datum = schema.caffe_pb.Datum.FromString(value)
        image = np.array(datum.float_data, np.float32)
        out.append(
            (key.decode(), image.reshape(datum.channels, datum.height, datum.width), datum.label)
        )
    return out


def records_digests(manifest):
    return [facts["records_sha256"] for facts in manifest["databases"].values()]


def test_records_are_the_whitened_images_in_a_fixed_shuffle(finished, fabricated):
    dataset = fabricated.dataset()
    preprocessing = Preprocessing.load(finished / "preprocessing.npz")
    order = np.random.RandomState(0).permutation(30)
    assert not np.array_equal(order, np.arange(30))
    for part, images, labels in (
        ("train", dataset.train_images[order], dataset.train_labels[order]),
        ("test", dataset.test_images, dataset.test_labels),
    ):
        found = records(finished, part)
        assert [key for key, _, _ in found] == [f"{n:05d}" for n in range(len(images))]
        assert [label for _, _, label in found] == labels.tolist()
        stored = np.stack([image for _, image, _ in found])
        assert stored.shape == (len(images), 3, 42, 42)
        white = preprocessing.apply(images).reshape(-1, 3, 32, 32)
        assert np.allclose(stored[:, :, 5:-5, 5:-5], white, atol=1e-5)
        stored[:, :, 5:-5, 5:-5] = 0
        assert not stored.any()


def test_constants(finished):
    with np.load(finished / "preprocessing.npz") as data:
        assert (data["gcn_scale"], data["zca_bias"], data["pad"]) == (55.0, 0.1, 5)
        assert data["channel_order"] == "RGB" and data["layout"] == "CHW"
        assert data["image_shape"].tolist() == [3, 32, 32]
        assert data["mean"].shape == (3072,) and data["zca_inverse"].shape == (3072, 3072)
        assert np.array_equal(data["train_order"], np.random.RandomState(0).permutation(30))
        assert data["label_names"][3] == "cat"


def test_mean_of_the_stored_training_records(fabricated, tmp_path):
    build_dataset("cifar10", fabricated.dataset, PLAIN, tmp_path / "out")
    blob = schema.read_blob(tmp_path / "out" / "mean.binaryproto")
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 3, 42, 42)
    expected = np.mean([image for _, image, _ in records(tmp_path / "out")], axis=0, dtype=float)
    assert np.abs(expected).max() > 0.1
    assert np.allclose(schema.blob_to_array(blob)[0], expected, atol=1e-6)


def test_only_training_images_are_fitted(finished, fabricated, new_cifar10, tmp_path):
    """Other test images change nothing of what is made of the training images."""
    dataset = fabricated.dataset()
    other = new_cifar10(seed=5).dataset()
    changed = replace(dataset, test_images=other.test_images, test_labels=other.test_labels)
    manifest, _ = build_dataset("cifar10", lambda: changed, Options(), tmp_path / "out")
    before = json.loads((finished / "manifest.json").read_text())
    for name in ("preprocessing.npz", "mean.binaryproto"):
        assert (tmp_path / "out" / name).read_bytes() == (finished / name).read_bytes()
    (train, test), (train_before, test_before) = map(records_digests, (manifest, before))
    assert train == train_before and test != test_before


def test_every_form_gives_the_same_bytes(fabricated, tmp_path, pack_folder):
    python = fabricated.write_python(tmp_path / "cifar-10-batches-py")
    binary = fabricated.write_binary(tmp_path / "cifar-10-batches-bin")
    sources = [
        python,
        binary,
        pack_folder(python, tmp_path / "p.tar.gz"),
        pack_folder(binary, tmp_path / "b.tar.gz"),
    ]
    made = []
    for number, source in enumerate(sources):
        out = tmp_path / str(number)
        manifest, _ = build_dataset(
            "cifar10", lambda source=source: read_cifar10(source), PLAIN, out
        )
        made.append(
            {
                "files": manifest["files"],
                "records": records_digests(manifest),
                "images": manifest["source"]["images_sha256"],
            }
        )
    assert made.count(made[0]) == 4


def test_manifest(finished):
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["dataset"] == "cifar10" and manifest["source"]["form"] == "fabricated"
    assert manifest["options"] == {
        "pad": 5,
        "scale": 55.0,
        "zca_bias": 0.1,
        "seed": 0,
        "limit": None,
    }
    train, test = manifest["databases"].values()
    assert (train["records"], test["records"]) == (30, 9) and train["shape"] == [3, 42, 42]
    labels = [label for _, _, label in records(finished)]
    assert train["records_of_label"] == np.bincount(labels, minlength=10).tolist()
    assert set(manifest["files"]) == {
        "cifar10_train_lmdb/data.mdb",
        "cifar10_test_lmdb/data.mdb",
        "mean.binaryproto",
        "preprocessing.npz",
    }
    assert {"numpy", "blas", "lmdb", "protobuf", "python"} == set(manifest["versions"])
    assert verify(finished) == []


def test_seed_pad_scale_and_limit(fabricated, tmp_path):
    dataset = fabricated.dataset()
    options = Options(pad=0, scale=10.0, zca_bias=None, seed=None, limit=4)
    manifest, _ = build_dataset("cifar10", fabricated.dataset, options, tmp_path / "out")
    found = records(tmp_path / "out")
    assert [label for _, _, label in found] == dataset.train_labels[:4].tolist()
    assert [len(found), len(records(tmp_path / "out", "test"))] == [4, 4]
    for (_, image, _), pixels in zip(found, dataset.train_images[:4], strict=True):
        assert image.shape == (3, 32, 32) and np.linalg.norm(image) == pytest.approx(10, rel=1e-6)
        assert np.corrcoef(image.ravel(), pixels)[0, 1] == pytest.approx(1)
    with np.load(tmp_path / "out" / "preprocessing.npz") as data:
        assert "zca" not in data and data["train_order"].tolist() == [0, 1, 2, 3]

    shuffles = {
        seed: build_dataset(
            "cifar10", fabricated.dataset, replace(PLAIN, seed=seed), tmp_path / f"seed{seed}"
        )[0]
        for seed in (0, 1, None)
    }
    trains = {records_digests(manifest)[0] for manifest in shuffles.values()}
    tests = {records_digests(manifest)[1] for manifest in shuffles.values()}
    assert len(trains) == 3 and len(tests) == 1


def test_a_finished_folder_is_left_alone(fabricated, new_cifar10, tmp_path):
    out = tmp_path / "out"
    build_dataset("cifar10", fabricated.dataset, PLAIN, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}

    def load():
        raise AssertionError("not to be read")

    manifest, fresh = build_dataset("cifar10", load, PLAIN, out)
    assert not fresh and manifest["databases"]["cifar10_train_lmdb"]["records"] == 30
    with pytest.raises(DataError, match="out: finished with pad 5, asked for pad 4; --force"):
        build_dataset("cifar10", load, replace(PLAIN, pad=4), out)
    with pytest.raises(DataError, match="finished with dataset cifar10, asked for .* synthetic"):
        build_dataset("synthetic", load, PLAIN, out)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}

    other = new_cifar10(seed=3)
    manifest, fresh = build_dataset(
        "cifar10", other.dataset, replace(PLAIN, pad=4), out, force=True
    )
    assert fresh and records(out)[0][1].shape == (3, 40, 40) and verify(out) == []
    assert [*tmp_path.iterdir()] == [out]


def test_force_that_fails_keeps_the_old_folder(fabricated, tmp_path):
    out = tmp_path / "out"
    build_dataset("cifar10", fabricated.dataset, PLAIN, out)
    with pytest.raises(DataError, match="ZCA bias -1: must be positive"):
        build_dataset("cifar10", fabricated.dataset, Options(zca_bias=-1), out, force=True)
    assert verify(out) == [] and [*tmp_path.iterdir()] == [out]


def test_a_folder_of_someone_else(fabricated, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(DataError, match="is there and was not made by data_prep"):
            build_dataset("cifar10", fabricated.dataset, PLAIN, tmp_path, force=force)
        with pytest.raises(DataError, match="is there and was not made by data_prep"):
            build_dataset(
                "cifar10", fabricated.dataset, PLAIN, tmp_path / "thesis.txt", force=force
            )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_disk_too_small(fabricated, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 10_000))
    with pytest.raises(DataError, match=r"out: needs about 0.085 GB, its disk has 1e-05 GB free"):
        build_dataset("cifar10", fabricated.dataset, PLAIN, tmp_path / "out")
    assert not list(tmp_path.iterdir())


RAW = Options(pad=0, scale=None, zca_bias=None)


@pytest.mark.parametrize("pad", [0, 4])
def test_raw_records_are_bytes(fabricated, tmp_path, pad):
    dataset, out = fabricated.dataset(), tmp_path / "out"
    manifest, _ = build_dataset("cifar10", fabricated.dataset, replace(RAW, pad=pad), out)
    order = np.random.RandomState(0).permutation(30)
    border = (0, 0), (0, 0), (pad, pad), (pad, pad)
    stored = np.pad(dataset.train_images[order].reshape(-1, 3, 32, 32), border)
    for (_, value), image, label in zip(
        read_lmdb(out / "cifar10_train_lmdb"), stored, dataset.train_labels[order], strict=True
    ):
        assert (
            value
            == schema.caffe_pb.Datum(
                channels=3,
                height=32 + 2 * pad,
                width=32 + 2 * pad,
                label=label,
                data=image.tobytes(),
            ).SerializeToString()
        )
    mean = schema.blob_to_array(schema.read_blob(out / "mean.binaryproto"))[0]
    assert np.allclose(mean, stored.mean(axis=0), atol=1e-4)
    told = Preprocessing.load(out / "preprocessing.npz")
    assert told.channel_order == "RGB" and told.label_names[3] == "cat"
    assert told.record_shape == stored.shape[1:]
    pictures = dataset.train_images[order].reshape(-1, 3, 32, 32)
    assert np.array_equal(told.records(pictures), stored)
    assert set(manifest["files"]) == {
        "preprocessing.npz",
        "cifar10_train_lmdb/data.mdb",
        "cifar10_test_lmdb/data.mdb",
        "mean.binaryproto",
    }
    assert verify(out) == []
    with pytest.raises(DataError, match="finished with scale None, zca_bias None, asked for"):
        build_dataset("cifar10", fabricated.dataset, Options(pad=pad), out)
