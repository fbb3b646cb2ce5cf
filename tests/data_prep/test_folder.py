import fcntl
import os
import time

import pytest

from data_prep import DataError
from data_prep.folder import new_folder
from netgen.schema.files import DAY, host, swept_hosts


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(out, text, **options):
    with new_folder(out, **options) as folder:
        (folder / "file").write_text(text)


def test_it_appears_when_it_is_whole(tmp_path):
    out = tmp_path / "deep" / "out"
    with new_folder(out) as folder:
        (folder / "file").write_text("x")
        assert folder.parent == out.parent and not out.exists()
    assert contents(out) == {"file": "x"} and [*out.parent.iterdir()] == [out]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("replace", [False, True])
def test_nothing_is_left_of_a_broken_one(tmp_path, error, replace):
    out = tmp_path / "out"
    if replace:
        fill(out, "old")
    with pytest.raises(error), new_folder(out, replace) as folder:
        (folder / "file").write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if replace else [])
    assert not replace or contents(out) == {"file": "old"}


def test_replace(tmp_path):
    fill(tmp_path / "out", "old")
    fill(tmp_path / "out", "new", replace=True)
    assert contents(tmp_path / "out") == {"file": "new"} and len([*tmp_path.iterdir()]) == 1


def test_an_empty_folder_gives_way_and_another_does_not(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "first")
    with pytest.raises(DataError, match="out: is there and is left as it is"):
        fill(out, "second")
    assert contents(out) == {"file": "first"} and len([*tmp_path.iterdir()]) == 1


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    fill(tmp_path / "out", "x")
    assert (tmp_path / "out").is_symlink() and contents(tmp_path / "disk") == {"file": "x"}


def test_what_a_killed_process_left_is_removed(tmp_path):
    out = tmp_path / "out[1]"
    left = tmp_path / f".out[1].{host()}.0123.part"
    left.mkdir()
    (left / "file").write_text("half")
    others = [f".other.{host()}.0123.part", ".out[1].another_machine.0123.part"]
    for name in others:
        (tmp_path / name).mkdir()
    fill(out, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "out[1]"])


@pytest.mark.skipif(swept_hosts(".") == host(), reason="this disk may be another machine's too")
def test_what_a_killed_container_left_is_removed_after_a_day(tmp_path):
    left = tmp_path / f".out.{int(host(), 16) ^ 1:08x}.0123abcd.part"
    left.mkdir()
    (left / "file").write_text("half")
    os.utime(left, (time.time() - 2 * DAY,) * 2)
    fill(tmp_path / "out", "x")
    assert left.exists()  # something in it is new
    os.utime(left / "file", (time.time() - 2 * DAY,) * 2)
    (tmp_path / "out" / "file").unlink()
    fill(tmp_path / "out", "y")
    assert not left.exists()


def test_what_a_living_process_builds_is_not(tmp_path):
    busy = tmp_path / f".out.{host()}.0123.part"
    busy.mkdir()
    handle = os.open(busy, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    fill(tmp_path / "out", "x")
    assert busy.exists()
    os.close(handle)


def test_two_at_once(tmp_path):
    """Who comes second finds the folder there; neither disturbs the other."""
    out = tmp_path / "out"
    with pytest.raises(DataError, match="left as it is"), new_folder(out) as slow:
        fill(out, "quick")
        (slow / "file").write_text("slow")
    assert contents(out) == {"file": "quick"} and [*tmp_path.iterdir()] == [out]
