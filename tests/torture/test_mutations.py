"""The mutators themselves: repeatable, and of thirty kinds that all do something."""

import gzip

import pytest
from mutations import KINDS, mutants, mutate

TEXT = b'name: "net"\nlayer {\n  name: "a" type: "ReLU"\n  top: "a"\n}\nbase_lr: 0.01\n' * 80
FILES = {"text": TEXT, "zeros": bytes(9000), "gzip": gzip.compress(TEXT), "nothing": b""}


def test_there_are_thirty_kinds():
    assert len(KINDS) >= 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_a_kind_damages_every_file_and_the_same_way_again(kind, name):
    data = FILES[name]
    for seed in range(5):
        damaged = mutate(data, kind, seed)
        if not (kind == "empty" and not data):
            assert damaged != data or kind == "under gzip"
        assert damaged == mutate(data, kind, seed)
    assert len({mutate(TEXT, kind, seed) for seed in range(20)}) > 1 or kind in ("empty", "twice")


def test_mutants_go_through_all_kinds():
    found = list(mutants(TEXT, len(KINDS) * 2, seed=3))
    assert [kind for kind, _ in found[: len(KINDS)]] != [] and {k for k, _ in found} == set(KINDS)
    assert found == list(mutants(TEXT, len(KINDS) * 2, seed=3))
    assert found != list(mutants(TEXT, len(KINDS) * 2, seed=4))
