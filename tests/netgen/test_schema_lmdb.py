"""LMDBs as liblmdb writes them, whole, cut and damaged. What liblmdb reads is what is right."""

import itertools
import random

import lmdb
import pytest

from netgen.schema.lmdb import LMDBError, LMDBFolder


@pytest.fixture
def database(tmp_path):
    """database(records): a folder of them, and how liblmdb reads it."""

    def database(records):
        path = tmp_path / "db"
        with lmdb.open(str(path), map_size=1 << 26) as env:
            with env.begin(write=True) as txn:
                for key, value in records:
                    txn.put(key, value)
            with env.begin() as txn, txn.cursor() as cursor:
                return path, list(cursor)

    return database


def records(count, size, seed=1):
    """Keys in no order, and values of up to `size` bytes."""
    draw = random.Random(seed)
    keys = [b"%08d" % i for i in range(count)]
    draw.shuffle(keys)
    return [(key, draw.randbytes(draw.randint(0, size))) for key in keys]


def read(folder):
    return [(bytes(key), bytes(value)) for key, value in folder.once()]


@pytest.mark.parametrize(
    ("count", "size"),
    [(0, 0), (1, 5), (3, 9000), (40, 100), (700, 5000), (20_000, 40), (3, 3_000_000)],
)
def test_all_records_in_order(database, count, size):
    path, right = database(records(count, size))
    folder = LMDBFolder(path)
    assert folder.length == count == len(right) and read(folder) == right


def test_what_was_deleted_is_gone_and_its_pages_are_no_matter(database, tmp_path):
    path, _ = database(records(600, 6000))
    with lmdb.open(str(path), map_size=1 << 26) as env:
        with env.begin(write=True) as txn:
            for i in range(100, 600):
                txn.delete(b"%08d" % i)
        with env.begin() as txn, txn.cursor() as cursor:
            right = list(cursor)
    assert len(right) == 100 and read(LMDBFolder(path)) == right


@pytest.mark.parametrize(("start", "stride"), [(0, 1), (7, 1), (31, 4), (299, 7), (1000, 301)])
def test_a_stride_goes_round_and_round(database, start, stride):
    path, right = database(records(300, 3000))
    found = itertools.islice(LMDBFolder(path).records(start, stride), 400)
    for i, (key, value) in enumerate(found):
        assert (bytes(key), bytes(value)) == right[(start + i * stride) % 300]


def test_what_is_no_lmdb(tmp_path):
    with pytest.raises(FileNotFoundError):
        LMDBFolder(tmp_path)
    for content in (b"", b"text\n", bytes(8192), b"\xff" * 8192):
        (tmp_path / "data.mdb").write_bytes(content)
        with pytest.raises(LMDBError, match="MDB_INVALID: File is not an LMDB file"):
            LMDBFolder(tmp_path)


@pytest.mark.parametrize("size", [50, 5000])
def test_a_cut_file_is_told_when_it_is_opened(database, size):
    path, right = database(records(400, size))
    file = path / "data.mdb"
    whole = file.read_bytes()
    for parts in range(8):
        file.write_bytes(whole[: 8192 + (len(whole) - 8192) * parts // 8])
        with pytest.raises(LMDBError, match=r"data.mdb was cut, it has [\d,]+ bytes"):
            LMDBFolder(path)
    file.write_bytes(whole)
    assert read(LMDBFolder(path)) == right


def test_a_file_that_is_cut_while_it_is_read(database):
    path, right = database(records(400, 5000))
    found = LMDBFolder(path).records()
    assert bytes(next(found)[0]) == right[0][0]
    with open(path / "data.mdb", "r+b") as file:
        file.truncate(100_000)
    with pytest.raises(LMDBError, match="data.mdb was cut, it has 100,000 bytes"):
        for _ in range(400):
            next(found)


@pytest.mark.parametrize("size", [50, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_damage_is_one_line_or_harmless(database, size, seed):
    """Bytes are changed wherever structure may stand; nothing else than an LMDBError comes."""
    path, right = database(records(300, size))
    file, draw = path / "data.mdb", random.Random(seed)
    whole, told = file.read_bytes(), 0
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(draw.choice((1, 5, 200))):
            page = draw.randrange(len(whole) // 4096)
            place = 4096 * page + draw.choice((draw.randrange(4096), draw.randrange(200)))
            broken[place] = draw.randrange(256)
        file.write_bytes(broken)
        try:
            folder = LMDBFolder(path)
            assert len(read(folder)) == folder.length
        except LMDBError as error:
            assert "\n" not in str(error)
            told += 1
    assert told > 5


def test_the_pages_of_a_tree_that_bites_its_tail(database):
    """A branch that refers to itself ends, by the depth that the file tells."""
    path, _ = database(records(20_000, 40))
    file = path / "data.mdb"
    content = bytearray(file.read_bytes())
    branches = [
        at for at in range(8192, len(content), 4096) if content[at + 10 : at + 12] == b"\x01\x00"
    ]
    for at in branches:
        slot = at + int.from_bytes(content[at + 16 : at + 18], "little")
        content[slot : slot + 6] = (at // 4096).to_bytes(6, "little")
    file.write_bytes(content)
    with pytest.raises(LMDBError, match="is no page of its tree"):
        read(LMDBFolder(path))
