import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import data_prep
from data_prep.cli import main

COMMAND = [sys.executable, "-m", "data_prep"]
ROOT = os.path.dirname(os.path.dirname(data_prep.__file__))
OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def environment(**more):
    return {**os.environ, "PYTHONPATH": ROOT, **more}


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        text=True,
        capture_output=True,
        env=environment(**OFFLINE),
        timeout=120,
        **options,
    )


def one_line(result, status, *words):
    assert result.returncode == status, result.stderr
    assert result.stdout == "" and result.stderr.count("\n") == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


def test_the_whole_way(python_folder, tmp_path):
    out = tmp_path / "out"
    build = ["cifar10", "--source", python_folder, "--out", out, "--no-zca", "--pad", 4]
    made = run(*build)
    assert made.returncode == 0 and made.stderr == ""
    assert "30 training and 9 test records of 3x40x40 from python cifar-10-bat" in made.stdout
    again = run(*build)
    assert again.returncode == 0 and "finished already" in again.stdout
    one_line(run(*build, "--seed", "none"), 1, "finished with seed 0, asked for seed None")
    forced = run(*build, "--seed", "none", "--force")
    assert forced.returncode == 0 and "30 training" in forced.stdout

    checked = run("verify", out)
    assert checked.returncode == 0
    assert checked.stdout == f"{out}: cifar10, 4 files and 39 records as written\n"
    np.save(tmp_path / "images.npy", np.random.RandomState(0).randint(0, 256, (2, 3072)))
    whitened = run("apply", out / "preprocessing.npz", "images.npy", cwd=tmp_path)
    assert whitened.stdout == "whitened.npy: 2x3x32x32 float32\n"
    assert np.load(tmp_path / "whitened.npy").shape == (2, 3, 32, 32)

    os.truncate(out / "cifar10_test_lmdb" / "data.mdb", 4096)
    one_line(run("verify", out), 1, "data.mdb: 4096 bytes, the manifest says")


def test_synthetic(tmp_path):
    result = run("synthetic", "--out", tmp_path / "out", "--limit", 40, "--no-zca")
    assert result.returncode == 0 and "not CIFAR-10" in result.stdout
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["dataset"] == "synthetic" and "not CIFAR-10" in manifest["source"]["note"]
    assert run("verify", tmp_path / "out").returncode == 0
    one_line(
        run("cifar10", "--out", tmp_path / "out", "--limit", 40, "--no-zca"),
        1,
        "finished with dataset synthetic, asked for dataset cifar10; --force",
    )


def test_raw_goes_to_the_folder_that_its_nets_read(python_folder, tmp_path):
    for options, folder in ([], "cifar10_raw"), (["--pad", 4], "cifar10_raw_pad4"):
        made = run("cifar10", "--source", python_folder, "--raw", *options, cwd=tmp_path)
        assert made.returncode == 0 and made.stdout.startswith(f"data/{folder}: 30 training")
    for net in ("cifar10_full", "resnet20"):
        text = (Path(ROOT) / "prototxt" / f"{net}.prototxt").read_text()
        for path in re.findall(r'"(data/.*)"', text):
            assert (tmp_path / path).exists()
    one_line(run("cifar10", "--raw", "--scale", 3, cwd=tmp_path), 1, "--raw keeps the pixels")


def test_offline_without_data(tmp_path):
    result = run("cifar10", cwd=tmp_path)
    one_line(
        result,
        3,
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        "put it at data/cifar-10-python.tar.gz",
    )
    assert not list((tmp_path / "data").iterdir())


def test_a_source_that_is_not_there_is_not_missing_data(tmp_path):
    one_line(run("cifar10", "--source", "nowhere", cwd=tmp_path), 1, "nowhere: no CIFAR-10 there")


def test_data_is_found_without_source(python_folder, tmp_path):
    shutil.copytree(python_folder, tmp_path / "data" / "cifar-10-batches-py")
    result = run("cifar10", "--no-zca", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("data/cifar10: 30 training")


@pytest.mark.parametrize("arguments, word", [
    (["cifar10", "--pad", "-1"], "'-1' is not a number of pixels"),
    (["cifar10", "--limit", "0"], "'0' is not a positive number of images"),
    (["cifar10", "--zca-bias", "0"], "'0' is not a positive number"),
    (["cifar10", "--scale", "nan"], "'nan' is not a positive number"),
    (["cifar10", "--seed", "some"], "'some' is not a number from 0 to 4294967295, or none"),
    (["cifar10", "--frob"], "unrecognized arguments: --frob"),
    (["frob"], "invalid choice: 'frob'"), ([], "required: command"),
    (["verify", "/absent"], "not a finished folder"),
])  # fmt: skip
def test_bad_input_is_one_line(arguments, word, capsys):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    line = capsys.readouterr().err
    assert status == 1 and line.count("\n") == 1 and word in line


def test_help_needs_nothing_heavy():
    code = (
        "import sys\nfrom data_prep.cli import main\n"
        "try: main(['cifar10', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'lmdb', 'google.protobuf', 'tqdm') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, env=environment(), check=True
    )
    assert "--zca-bias" in result.stdout and result.stdout.endswith("\n[]\n")


@pytest.fixture(scope="module")
def wide(new_cifar10, tmp_path_factory):
    """Arguments of a build that writes a few hundred MB, and so for a while."""
    folder = new_cifar10(600, 600).write_binary(tmp_path_factory.mktemp("wide") / "batches")
    return ["cifar10", "--source", str(folder), "--no-zca", "--pad", "32"]


@pytest.fixture
def writing(wide, tmp_path):
    """(process, its folder): a build that has begun to write records."""
    with subprocess.Popen(
        [*COMMAND, *wide, "--out", str(tmp_path / "out")],
        text=True,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        while not any(path.stat().st_size > 1 << 20 for path in tmp_path.rglob("data.mdb")):
            assert process.poll() is None
            time.sleep(0.005)
        yield process, tmp_path
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(writing, number):
    process, folder = writing
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors == "data_prep: interrupted; nothing half-finished is left\n"
    assert not list(folder.iterdir())


def test_killed_then_built_again(writing, python_folder):
    process, folder = writing
    process.kill()
    process.wait()
    (left,) = folder.iterdir()
    assert left.name.startswith(".out.") and not (left / "manifest.json").exists()
    again = run("cifar10", "--source", python_folder, "--out", folder / "out", "--no-zca")
    assert again.returncode == 0 and [path.name for path in folder.iterdir()] == ["out"]


def test_out_of_disk(wide, tmp_path):
    """A limit on file size cuts the writes of LMDB short as a full disk does."""
    limit = 20 << 20
    result = run(
        *wide,
        "--out",
        tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    one_line(result, 1, f"{tmp_path / 'out'}: mdb_txn_commit: ", " MiB free on its disk; nothing")
    assert not list(tmp_path.iterdir())
