import numpy as np
import pytest
from PIL import Image

from data_prep import DataError, Preprocessing
from data_prep.apply import apply_to_files, read_images
from netgen.errors import CaffeError


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """Constants of GCN alone."""
    path = tmp_path_factory.mktemp("npz") / "preprocessing.npz"
    Preprocessing(55.0, None).save(path)
    return path


@pytest.fixture(scope="module")
def images(fabricated):
    return fabricated.batches[0][0]  # (6, 3072) uint8


def write_png(path, row):
    Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).save(path)
    return path


def test_files_come_out_whitened_in_their_order(finished, images, tmp_path):
    npz, out = finished / "preprocessing.npz", tmp_path / "out.npy"
    png = write_png(tmp_path / "one.png", images[0])
    np.save(tmp_path / "more.npy", images[1:].reshape(-1, 3, 32, 32))
    assert apply_to_files(npz, [png, tmp_path / "more.npy"], out) == (6, 3, 32, 32)
    expected = Preprocessing.load(npz).apply(images).reshape(-1, 3, 32, 32)
    found = np.load(out)
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["more.npy", "one.png", "out.npy"]


def test_layouts_of_arrays(images, tmp_path):
    planes = images.reshape(-1, 3, 32, 32)
    for array in (planes, planes.transpose(0, 2, 3, 1), images, planes.astype(np.float64)):
        np.save(tmp_path / "a.npy", array)
        assert np.array_equal(read_images(tmp_path / "a.npy"), images)
    for array in (planes[0], planes[0].transpose(1, 2, 0)):
        np.save(tmp_path / "a.npy", array)
        assert np.array_equal(read_images(tmp_path / "a.npy"), images[:1])


def test_range_of_values_does_not_matter(npz, images, tmp_path):
    np.save(tmp_path / "bytes.npy", images)
    np.save(tmp_path / "unit.npy", images / 255)
    apply_to_files(npz, [tmp_path / "bytes.npy", tmp_path / "unit.npy"], tmp_path / "out.npy")
    one, two = np.split(np.load(tmp_path / "out.npy"), 2)
    assert np.allclose(one, two, atol=1e-4)


def test_grey_and_palette_images_become_rgb(tmp_path):
    Image.new("L", (32, 32), 7).save(tmp_path / "grey.png")
    Image.new("P", (32, 32), 0).save(tmp_path / "palette.png")
    assert read_images(tmp_path / "grey.png").tolist() == [[7.0] * 3072]
    assert read_images(tmp_path / "palette.png").shape == (1, 3072)


def refuse(npz, path, reason, out):
    with pytest.raises(DataError, match=reason) as caught:
        apply_to_files(npz, [path], out)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert not out.exists()


def test_refused_in_one_line(npz, tmp_path):
    out = tmp_path / "out.npy"
    Image.new("RGB", (500, 375)).save(tmp_path / "cat.png")
    refuse(npz, tmp_path / "cat.png", "500x375 pixels, expected 32x32", out)
    refuse(npz, tmp_path / "absent.png", "No such file", out)
    refuse(npz, tmp_path / "absent.npy", "No such file", out)
    (tmp_path / "text.png").write_text("no image")
    refuse(npz, tmp_path / "text.png", "cannot identify image file", out)
    (tmp_path / "text.npy").write_text("no array")
    refuse(npz, tmp_path / "text.npy", "not an array", out)
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04" + bytes(200))
    refuse(npz, tmp_path / "zip.npy", "not an array", out)


@pytest.mark.parametrize("array, reason", [
    (np.zeros((3, 16, 16)), r"array of shape \(3, 16, 16\), expected \(N, 3, 32, 32\)"),
    (np.zeros(3072), r"array of shape \(3072,\)"),
    (np.zeros((1, 1, 3, 32, 32)), "array of shape"), (np.array(5), "array of shape"),
    (np.full((1, 3072), np.nan), "expected integers or finite floats"),
    (np.array([["a"] * 3072]), "<U1 values"),
])  # fmt: skip
def test_arrays_refused(npz, tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array)
    refuse(npz, tmp_path / "a.npy", reason, tmp_path / "out.npy")


def test_output_that_cannot_be_written(npz, images, tmp_path):
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(
        CaffeError, match="absent/out.npy: cannot be written: No such file or directory"
    ):
        apply_to_files(npz, [tmp_path / "a.npy"], tmp_path / "absent" / "out.npy")


def test_a_raw_data_set_has_nothing_to_apply(images, tmp_path):
    Preprocessing().save(tmp_path / "preprocessing.npz")
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(DataError, match=r"preprocessing.npz: its data set has the pixels as they"):
        apply_to_files(tmp_path / "preprocessing.npz", [tmp_path / "a.npy"], tmp_path / "out.npy")
