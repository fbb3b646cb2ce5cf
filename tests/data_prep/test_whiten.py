import numpy as np
import pytest

from data_prep import ZCA, DataError, Preprocessing, fit_zca, global_contrast_normalize
from data_prep.whiten import CHUNK
from netgen.schema import SchemaError


@pytest.fixture(scope="module")
def rows():
    """Correlated rows, more than one chunk of them and not a multiple."""
    random = np.random.RandomState(1)
    return (random.randn(2 * CHUNK + 123, 40) @ random.randn(40, 40) + 3).astype(np.float32)


@pytest.fixture(scope="module")
def zca(rows):
    return fit_zca(lambda part: rows[part], len(rows), bias=0.1)


def test_gcn_gives_every_image_mean_zero_and_norm_55():
    images = np.random.RandomState(0).randint(0, 256, (50, 3072)).astype(np.uint8)
    out = global_contrast_normalize(images).astype(np.float64)
    assert np.allclose(np.linalg.norm(out, axis=1), 55, rtol=1e-6)
    assert np.abs(out.mean(axis=1)).max() < 1e-6
    centred = images[7] - images[7].mean()
    assert np.allclose(out[7], centred * 55 / np.linalg.norm(centred), rtol=1e-5, atol=1e-6)


def test_gcn_scale_and_images_without_contrast():
    images = np.full((2, 3072), 200, np.float32)
    images[1, :1536] = 100
    before = images.copy()
    out = global_contrast_normalize(images, scale=10.0)
    assert not out[0].any()
    assert np.linalg.norm(out[1]) == pytest.approx(10)
    assert out.dtype == np.float32 and np.array_equal(images, before)


def test_gcn_does_not_see_brightness_and_contrast():
    images = np.random.RandomState(0).rand(4, 3072)
    assert np.allclose(
        global_contrast_normalize(images), global_contrast_normalize(images * 80 + 30), atol=1e-4
    )


def test_gcn_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 32, 32\), expected \(N, D\)"):
        global_contrast_normalize(np.zeros((2, 3, 32, 32)))


def test_zca_is_the_formula(rows, zca):
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    matrix = vectors @ np.diag(1 / np.sqrt(values + 0.1)) @ vectors.T
    assert np.allclose(zca.matrix, matrix, atol=1e-6)
    assert np.allclose(zca.eigenvalues, values, rtol=1e-9)
    assert np.allclose(zca.mean, rows.mean(axis=0, dtype=np.float64), atol=1e-6)


def test_whitened_training_covariance(rows, zca):
    white = zca.apply(rows).astype(np.float64)
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    expected = vectors @ np.diag(values / (values + 0.1)) @ vectors.T
    assert np.allclose(white.T @ white / len(white), expected, atol=1e-5)
    assert np.abs(white.mean(axis=0)).max() < 1e-5


def test_inverse_round_trip(rows, zca):
    assert np.allclose(zca.invert(zca.apply(rows)), rows, atol=1e-4)
    assert np.allclose(zca.matrix.astype(np.float64) @ zca.inverse, np.eye(40), atol=1e-5)


def test_singular_covariance_needs_the_bias():
    rows = global_contrast_normalize(np.random.RandomState(0).rand(10, 30))
    zca = fit_zca(lambda part: rows[part], 10, bias=0.1)
    assert zca.eigenvalues.min() >= 0 and zca.eigenvalues[:20].max() < 1e-6
    assert np.isfinite(zca.matrix).all()
    with pytest.raises(DataError, match="ZCA bias 0: must be positive"):
        fit_zca(lambda part: rows[part], 10, bias=0)


def test_saved_and_loaded(finished, fabricated, tmp_path):
    one = Preprocessing.load(finished / "preprocessing.npz")
    one.save(tmp_path / "again.npz")
    two = Preprocessing.load(tmp_path / "again.npz")
    images = fabricated.batches[0][0]
    assert np.array_equal(one.apply(images), two.apply(images))
    assert (two.scale, two.zca.bias, two.min_norm) == (55.0, 0.1, 1e-8)


def test_full_size_whitening(finished, fabricated):
    """What the folder holds whitens its own training images, and turns back."""
    loaded = Preprocessing.load(finished / "preprocessing.npz")
    images = fabricated.dataset().train_images
    plain = global_contrast_normalize(images)
    white = loaded.apply(images)
    assert np.allclose(loaded.zca.invert(white), plain, atol=1e-3)
    # With N images in 3072 dimensions, whitening by an SVD of the images needs no eigh.
    centred = plain.astype(np.float64) - plain.mean(axis=0, dtype=np.float64)
    left, singular, right = np.linalg.svd(centred, full_matrices=False)
    values = singular**2 / len(images)
    assert np.allclose(white, (left * singular / np.sqrt(values + 0.1)) @ right, atol=1e-3)


@pytest.mark.parametrize("content, reason", [
    (None, "No such file"), (b"", "not a preprocessing.npz"), (b"text", "not a preprocessing.npz"),
    (b"PK\x03\x04 broken", "not a preprocessing.npz"),
])  # fmt: skip
def test_load_refuses_in_one_line(tmp_path, content, reason):
    path = tmp_path / "preprocessing.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SchemaError, match=reason) as caught:
        Preprocessing.load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_load_refuses_other_arrays(tmp_path):
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(SchemaError, match="other.npz: not a preprocessing.npz: 'image_shape"):
        Preprocessing.load(tmp_path / "other.npz")
    zca = ZCA(np.zeros(2), np.eye(2), np.eye(2), np.ones(2), 0.1)
    Preprocessing(55.0, zca).save(tmp_path / "small.npz")
    with pytest.raises(SchemaError, match=r"ZCA matrix is \(2, 2\), images of 3x32x32 need 3072"):
        Preprocessing.load(tmp_path / "small.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(SchemaError, match="not a preprocessing.npz"):
        Preprocessing.load(tmp_path / "array.npy")


@pytest.mark.parametrize("changed, reason", [
    ({"channel_order": "HSV"}, "3 channels in the order HSV"),
    ({"image_shape": (1, 32, 32)}, "1 channels in the order RGB"),
    ({"pad": -1}, "images of 3x32x32 with -1 zeros around"),
    ({"scale": 1.0, "zca": ZCA(np.zeros(3), np.eye(2), np.eye(2), np.ones(2), 0.1)},
     r"ZCA of a mean \(3,\), a matrix \(2, 2\) and an inverse \(2, 2\)"),
    ({"scale": 1.0, "zca": ZCA(np.zeros(2), np.full((2, 2), "a"), np.eye(2), np.ones(2), 0.1)},
     "could not convert string to float"),
])  # fmt: skip
def test_load_refuses_what_cannot_be(tmp_path, changed, reason):
    Preprocessing(**changed).save(tmp_path / "p.npz")
    with pytest.raises(SchemaError, match=f"p.npz: not a preprocessing.npz: {reason}"):
        Preprocessing.load(tmp_path / "p.npz")
