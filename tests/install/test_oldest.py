"""The oldest versions that setup.py declares are those that `make oldest` tests."""

import re
from importlib.metadata import requires
from pathlib import Path

TESTED = Path(__file__).parents[1] / "oldest.txt"
#: Extras that a user asks for, and whose packages the tests need.
EXTRAS = ("hdf5", "leveldb", "pycaffe")


def test_declared_minima_are_the_tested_ones():
    declared = {}
    for line in requires("caffe-split"):
        name, minimum, extra = re.fullmatch(
            r"([\w-]+)>=([\d.]+)(?: ?; extra == [\"'](\w+)[\"'])?", line
        ).groups()
        if extra is None or extra in EXTRAS:
            declared[name] = minimum
    del declared["torch"]  # oldest.txt says why
    tested = dict(re.findall(r"^([\w-]+)==([\d.]+)$", TESTED.read_text(), re.MULTILINE))
    assert tested.items() >= declared.items()
    assert tested.keys() - declared.keys() == {"grpcio-tools", "pyparsing"}
