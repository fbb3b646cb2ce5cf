"""From a folder of pictures to a classified one, in the commands that a user types."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
COLORS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (210, 50, 40)}


@pytest.fixture
def type_in(tmp_path):
    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_three_commands_and_an_answer(tmp_path, type_in):
    """The label of a class is its place in the alphabet, and the channels keep their order."""
    random = np.random.RandomState(4)
    for name, color in COLORS.items():
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(25):
            pixels = (np.array(color) + random.normal(0, 30, (20, 24, 3))).clip(0, 255)
            picture = Image.fromarray(pixels.astype(np.uint8))
            picture.save(tmp_path / "pictures" / name / f"{number}.jpg")

    type_in("data_prep", "images", "pictures", "-o", "data/mine", "--size", "16")
    told = type_in(
        "netgen", "fit", "lenet", "data/mine", "--max-iter", "30", "--snapshot", "30"
    ).stdout
    assert "3 classes of 3x16x16" in told
    train, classify = (
        line.partition("caffe ")[2].split() for line in told.splitlines() if "caffe " in line
    )
    log = type_in("runner", *train).stderr
    assert "Optimization Done." in log
    last = [line for line in log.splitlines() if "Test net output" in line and "accuracy" in line]
    assert float(last[-1].rpartition("= ")[2]) == 1

    assert classify.pop() == "IMAGE"
    pictures = [f"pictures/{name}/3.jpg" for name in COLORS]
    answers = json.loads(type_in("runner", *classify, "--json", *pictures).stdout)
    assert [answer["predictions"][0]["label"] for answer in answers] == list(COLORS)
    assert type_in("data_prep", "verify", "data/mine").stdout.startswith(
        "data/mine: images, 5 files"
    )
