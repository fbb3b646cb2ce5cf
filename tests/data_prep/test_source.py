"""Where CIFAR-10 is when nobody says: what is there is used if it is the official one."""

import pytest

from data_prep import DataError, NoDataError
from data_prep.cifar10 import PYTHON
from data_prep.source import find_or_download


def test_what_is_there_is_not_downloaded(python_folder):
    assert find_or_download(python_folder.parent) == python_folder


def test_an_archive_that_is_not_the_official_one(python_folder, tmp_path, pack_folder):
    pack_folder(python_folder, tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(DataError, match=f"the official one {PYTHON.published.sha256}") as e:
        find_or_download(tmp_path)
    assert not isinstance(e.value, NoDataError)
