"""Packed studies go on elsewhere, and take along no more than that needs."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from netgen.errors import CaffeError
from study import carry, cli

SMALLEST = (
    *("--scale", "tiny", "--width", "0.04", "--batch-size", "4", "--iterations", "6", "3"),
    *("--layers", "conv2", "--data", "data", "--arms", "restart", "--out", "s/o"),
)


def weights(folder):
    """The weights and solver states below a folder."""
    found = (path.relative_to(folder) for path in Path(folder).rglob("*"))
    return sorted(map(str, (path for path in found if carry.WEIGHTS.search(path.name))))


def carried(tmp_path, name):
    """Pack the study that is here, and go to a new folder to unpack it."""
    assert carry.main(["pack", "s/o", str(tmp_path / f"{name}.xz")]) == 0
    (tmp_path / name).mkdir()
    shutil.copytree("data", tmp_path / name / "data")
    os.chdir(tmp_path / name)
    assert carry.main(["unpack", str(tmp_path / f"{name}.xz")]) == 0


def test_a_study_that_is_carried_goes_on_where_it_was(tmp_path, records, monkeypatch, capfd):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    assert cli.main([*SMALLEST]) == 0
    here = tmp_path / "s/o/seed1"
    complete = weights(here)
    for name in ("tpm.json", "tpm.txt", "tpm/train.json", "restart/train.json"):
        (here / "round1" / name).unlink()
    for path in here.glob("round1/*/snapshot_iter_*"):
        path.unlink()
    carried(tmp_path, "one")  # before TPM is measured
    there = tmp_path / "one/s/o/seed1"
    window = [f"baseline/snapshot_iter_{i}.caffemodel" for i in range(1, 7)]
    state = "baseline/snapshot_iter_6.solverstate"
    assert weights(there) == sorted([*window, "round1/tpm/start.caffemodel"])
    assert state in complete
    for path in window:
        assert (there / path).read_bytes() == (here / path).read_bytes()
        assert (there / path).stat().st_mtime == pytest.approx((here / path).stat().st_mtime)
    with tarfile.open(tmp_path / "one.xz") as tar:
        headers = [one.pax_headers.get(carry.DIFFERS_FROM) for one in tar if "_iter_" in one.name]
    assert headers == [None, *(f"s/o/seed1/{path}" for path in window[:-1])]

    capfd.readouterr()
    assert cli.main(["--out", "s/o"]) == 0
    out = capfd.readouterr().out
    for name in ("tpm_train", "restart_train", "] seed1_round1_tpm\n", "report"):
        assert name in out
    assert "seed1_baseline_train" not in out
    carried(tmp_path, "two")  # a complete one: nothing reads weights any more
    assert weights("s/o") == []
    assert cli.main(["--out", "s/o", "--list"]) == 0
    assert capfd.readouterr().out.count("# ") == 1  # the report


def test_errors_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in (str(tmp_path), "../o"):
        with pytest.raises(CaffeError, match="must be below the current folder"):
            carry.needed(out)
    with pytest.raises(CaffeError, match="o/study.json: there is no study here"):
        carry.needed("o")
    Path("x").write_text("no study")
    with pytest.raises(CaffeError, match=r"^x: not a packed study \("):
        carry.unpack("x")
    with tarfile.open("y.xz", "w:xz") as tar:
        tar.add("x", "../x")
    with pytest.raises(CaffeError, match=r"^y.xz: ../x is no file below a folder$"):
        carry.unpack("y.xz")
