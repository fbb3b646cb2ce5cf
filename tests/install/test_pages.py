"""Every command of the pages in docs/, typed in a fresh folder where the wheel is installed."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```(sh|python|)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.]+)\n")


def type_page(installed, folder, page):
    """Run the sh and python blocks of a page, one after the other, in `folder`.

    A block that begins with a comment of a file's name alone is written to that file. Returns
    what the last one printed.
    """
    blocks = _BLOCK.findall((DOCS / page).read_text())
    assert any(language for language, _ in blocks)
    printed = ""
    for language, text in blocks:
        if named := _FILE.match(text):
            (folder / named[1]).write_text(text)
        elif language:
            shell = ["bash", "-e", "-c", text]
            words = shell if language == "sh" else ["python", "-c", text]
            printed = installed.run(words, folder).stdout
    return printed


@pytest.fixture(scope="module")
def grown(installed, tmp_path_factory):
    """The folder that docs/growing.md leaves, with a net of one's own in it."""
    folder = tmp_path_factory.mktemp("grown")
    type_page(installed, folder, "growing.md")
    shutil.copy(folder / "parent.prototxt", folder / "your_train_val.prototxt")
    return folder


def test_growing(grown):
    for name in ("tpm.png", "both.png", "snapshots/child_iter_60.caffemodel"):
        assert (grown / name).stat().st_size > 1000


@pytest.mark.parametrize("page", ["files.md", "from_caffe.md", "troubleshooting.md"])
def test_pages_about_what_is_there(installed, grown, page):
    type_page(installed, grown, page)


@pytest.mark.parametrize(
    ("page", "left"),
    [("python.md", "net_iter_2.solverstate"), ("pycaffe.md", "net.caffemodel")],
)
def test_python(installed, tmp_path, page, left):
    type_page(installed, tmp_path, page)
    assert (tmp_path / left).stat().st_size > 300_000


def test_own_layers(installed, tmp_path):
    printed = type_page(installed, tmp_path, "own_layers.md")
    assert "\n{'energy': array(" in printed
    assert len(list(tmp_path.glob("*.py"))) == 3


def test_first_training(installed, tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    draw = np.random.default_rng(1)
    for label, name in enumerate(("cat", "dog", "ship")):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(1, 21):
            pixels = draw.integers(0, 90, (40, 48, 3)).astype(np.uint8)
            pixels[:, :, label] += 150
            Image.fromarray(pixels).save(folder / f"{number:04}.jpg")
    type_page(installed, tmp_path, "first_training.md")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "mine.onnx").stat().st_size > 300_000
    model = ("-model", "mine/deploy.prototxt", "-transform", "mine/train_val.prototxt")
    weights = ("-weights", "mine/cifar10_full_iter_200.caffemodel")
    told = installed("caffe", "classify", *model, *weights, "pictures/dog/0003.jpg", cwd=tmp_path)
    assert told.stdout.splitlines()[1].endswith('- "dog"')


def test_from_pytorch(installed, tmp_path):
    """The page as far as what it needs is installed: its first block installs it."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    cv2 = pytest.importorskip("cv2")
    blocks = _BLOCK.findall((DOCS / "from_pytorch.md").read_text())[1:]
    if not hasattr(cv2.dnn, "readNetFromCaffe"):  # OpenCV 5
        blocks = [block for block in blocks if "cv2" not in block[1]]
    for language, text in blocks:
        shell = ["bash", "-e", "-c", text]
        ran = installed.run(shell if language == "sh" else ["python", "-c", text], tmp_path)
    assert (tmp_path / "net_iter_10.caffemodel").stat().st_size > 10_000
    assert ran.stdout == "(1, 10)\n" or not hasattr(cv2.dnn, "readNetFromCaffe")
