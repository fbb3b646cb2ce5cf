import hashlib
from itertools import pairwise

import pytest

from data_prep import DataError, read_lmdb, write_lmdb


def test_keys_and_order(tmp_path):
    values = [b"%d" % (n * n) for n in range(1234)]
    count, digest = write_lmdb(tmp_path / "db", [values[:1000], values[1000:]])
    records = list(read_lmdb(tmp_path / "db"))
    assert count == 1234 and [value for _, value in records] == values
    assert records[0][0] == b"00000" and records[1233][0] == b"01233"
    assert all(a < b for (a, _), (b, _) in pairwise(records))
    whole = hashlib.sha256(
        b"".join(
            len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little") + key + value
            for key, value in records
        )
    )
    assert digest == whole.hexdigest()


def test_the_map_grows(tmp_path):
    values = [bytes([n]) * 20_000 for n in range(200)]
    one = write_lmdb(tmp_path / "one", [values], map_size=1 << 16)
    two = write_lmdb(tmp_path / "two", [values[n : n + 7] for n in range(0, 200, 7)])
    assert one == two
    assert [value for _, value in read_lmdb(tmp_path / "one")] == values
    assert (tmp_path / "one" / "data.mdb").stat().st_size < 6_000_000


def test_the_digest_depends_on_the_order(tmp_path):
    assert (
        write_lmdb(tmp_path / "a", [[b"1", b"2"]])[1]
        != write_lmdb(tmp_path / "b", [[b"2", b"1"]])[1]
    )


def test_limits(tmp_path):
    with pytest.raises(DataError, match="more than 100000 records do not fit five-digit keys"):
        write_lmdb(tmp_path / "many", [[b""] * 60_000, [b""] * 40_001])
    with pytest.raises(FileExistsError):
        write_lmdb(tmp_path / "many", [])
    with pytest.raises(FileNotFoundError):
        list(read_lmdb(tmp_path / "absent"))
