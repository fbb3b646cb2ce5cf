"""One finished folder for all tests, and small CIFAR-10s in the official layouts."""

import pytest
from fabricated import Fabricated, pack

from data_prep import Options, build_dataset


@pytest.fixture(scope="session")
def fabricated():
    return Fabricated()


@pytest.fixture(scope="session")
def python_folder(fabricated, tmp_path_factory):
    return fabricated.write_python(tmp_path_factory.mktemp("python") / "cifar-10-batches-py")


@pytest.fixture(scope="session")
def finished(fabricated, tmp_path_factory):
    """A folder built with the default options, ZCA included. Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("finished") / "cifar10"
    manifest, fresh = build_dataset("cifar10", fabricated.dataset, Options(), out)
    assert fresh and manifest["dataset"] == "cifar10"
    return out


@pytest.fixture(scope="session")
def new_cifar10():
    """Fabricated itself, for other sizes and seeds."""
    return Fabricated


@pytest.fixture(scope="session")
def pack_folder():
    return pack
