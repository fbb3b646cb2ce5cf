"""Folders of pictures to records: which pictures, what becomes of them, what is written beside."""

import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from data_prep import (
    DataError,
    Form,
    ImageOptions,
    build_images,
    channel_means,
    compute_image_mean,
    convert_imageset,
    progress,
    read_lmdb,
    verify,
)
from data_prep.cli import main
from netgen import schema
from netgen.schema import caffe_pb, image

SMALL = ImageOptions(height=6, width=8)
CLASSES = ("bee", "cat", "dog")


def draw(path, random, kind="RGB"):
    pixels = random.randint(0, 256, (random.randint(5, 15), random.randint(5, 15), 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).convert(kind).save(path)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of each of three classes, of many sizes and kinds, some in deeper folders."""
    random = np.random.RandomState(2)
    for name in CLASSES:
        for number in range(10):
            kind = ("RGB", "L", "RGBA", "P")[number % 4]
            inner = "more" if number > 7 else "."
            draw(tmp_path / "pets" / name / inner / f"{number}.png", random, kind)
    return tmp_path / "pets"


def records(folder):
    """{path of the picture: Datum} in the order of the records."""
    found = {}
    for number, (key, value) in enumerate(read_lmdb(folder)):
        digits, _, name = key.decode().partition("_")
        assert digits == f"{number:08}"
        found[name] = caffe_pb.Datum.FromString(value)
    return found


def build(folder, options=SMALL, **more):
    manifest, fresh = build_images(folder, options, folder.parent / "out", **more)
    assert fresh
    return folder.parent / "out", manifest


def test_every_picture_is_once_in_one_part_and_every_class_in_both(folder):
    out, manifest = build(folder)
    train, test = records(out / "train_lmdb"), records(out / "test_lmdb")
    everything = {os.path.relpath(path, folder) for path in folder.rglob("*.png")}
    assert train.keys() | test.keys() == everything and not train.keys() & test.keys()
    assert all(d.label == CLASSES.index(n.split("/")[0]) for n, d in (train | test).items())
    assert [manifest["databases"][name]["records_of_label"] for name in ("train_lmdb", "test_lmdb")] == [
        [8, 8, 8],
        [2, 2, 2],
    ]  # fmt: skip
    assert list(train) != sorted(train) and list(test) == sorted(test)
    assert verify(out) == []


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("encoded", [False, True])
def test_records_are_those_of_convert_imageset(folder, gray, encoded):
    out, _ = build(folder, ImageOptions(6, 8, gray, encoded=encoded))
    names = sorted(os.path.relpath(path, folder) for path in folder.rglob("*.png"))
    lines = "".join(f"{name} {CLASSES.index(name.split('/')[0])}\n" for name in names)
    (folder.parent / "list.txt").write_text(lines)
    form = Form(gray, 6, 8, encode_type="jpg" if encoded else "")
    convert_imageset(
        f"{folder}/", folder.parent / "list.txt", folder.parent / "db", form, lambda *line: None
    )
    theirs = {
        key.partition(b"_")[2].decode(): value for key, value in read_lmdb(folder.parent / "db")
    }
    ours = {
        key.partition(b"_")[2].decode(): value
        for part in ("train_lmdb", "test_lmdb")
        for key, value in read_lmdb(out / part)
    }
    assert ours == theirs


@pytest.mark.parametrize("options", [SMALL, ImageOptions(5, 5, True, encoded=True)])
def test_constants_say_how_a_picture_is_treated(folder, options):
    out, _ = build(folder, options)
    assert (out / "labels.txt").read_text() == "bee\ncat\ndog\n"
    mean = compute_image_mean(str(out / "train_lmdb"), lambda *line: None)
    np.testing.assert_array_equal(
        schema.blob_to_array(schema.read_blob(out / "mean.binaryproto"))[0], mean
    )
    assert len(channel_means(mean)) == options.channels
    told = schema.Preprocessing.load(out / "preprocessing.npz")
    assert told.image_shape == (options.channels, options.height, options.width) == mean.shape
    assert told.channel_order == ("GRAY" if options.gray else "BGR")
    assert told.label_names == CLASSES and told.scale is None and told.pad == 0
    name, datum = next(iter(records(out / "test_lmdb").items()))
    pixels = image.decode_file(str(folder / name), not options.gray, pytest.fail)
    pixels = image.planes(image.resize(pixels, options.height, options.width))
    if not options.encoded:
        assert datum.data == told.records(pixels[None]).astype(np.uint8).tobytes()


def test_zeros_around_for_random_crops(folder):
    out, manifest = build(folder, ImageOptions(6, 8, pad=2))
    assert manifest["databases"]["train_lmdb"]["shape"] == [3, 10, 12]
    inside = records(
        build_images(folder, SMALL, folder.parent / "plain")[0]
        and folder.parent / "plain" / "train_lmdb"
    )
    for name, datum in records(out / "train_lmdb").items():
        pixels = np.frombuffer(datum.data, np.uint8).reshape(3, 10, 12)
        assert pixels[:, 2:-2, 2:-2].tobytes() == inside[name].data
        assert pixels.sum() == pixels[:, 2:-2, 2:-2].sum()
    assert schema.Preprocessing.load(out / "preprocessing.npz").record_shape == (3, 10, 12)


def test_the_seed_chooses_and_shuffles(folder):
    def names(seed):
        shutil.rmtree(folder.parent / "out", ignore_errors=True)
        out, _ = build(folder, ImageOptions(6, 8, seed=seed))
        return list(records(out / "train_lmdb")), list(records(out / "test_lmdb"))

    assert names(1) == names(1) and names(1) != names(2)
    train, test = names(None)
    assert train == sorted(train) and test == sorted(test)


@pytest.mark.parametrize("words", [("train", "test"), ("Training", "val")])
def test_folders_of_two_parts(folder, words):
    both = folder.parent / "both"
    both.mkdir()
    folder.rename(both / words[0])
    draw(both / words[1] / "dog" / "new.png", np.random.RandomState(1))
    out, manifest = build(both)
    assert list(records(out / "test_lmdb")) == ["dog/new.png"]
    assert manifest["databases"]["train_lmdb"]["records_of_label"] == [10, 10, 10]
    assert manifest["databases"]["test_lmdb"]["records_of_label"] == [0, 0, 1]


def test_a_folder_of_test_pictures(folder):
    draw(folder.parent / "others" / "cat" / "new.png", np.random.RandomState(1))
    out, _ = build(folder, test=folder.parent / "others")
    assert len(records(out / "train_lmdb")) == 30
    assert {name: d.label for name, d in records(out / "test_lmdb").items()} == {"cat/new.png": 1}
    draw(folder.parent / "others" / "cow" / "new.png", np.random.RandomState(1))
    with pytest.raises(DataError, match="others: has a class that .*pets has not: cow"):
        build(folder, test=folder.parent / "others", force=True)


def spoil(folder):
    whole = (folder / "cat" / "1.png").read_bytes()
    (folder / "cat" / "1.png").write_bytes(whole[:50])
    (folder / "dog" / "text.jpg").write_text("no picture")
    file = io.BytesIO()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(file, "JPEG")
    (folder / "bee" / "cut.jpg").write_bytes(file.getvalue()[:-60])
    (folder / "bee" / "notes.txt").write_text("no picture by its name")
    (folder / "bee" / ".hidden.png").write_text("")


def test_broken_pictures_are_refused_by_name(folder):
    spoil(folder)
    with pytest.raises(DataError) as refused:
        build(folder)
    told = str(refused.value)
    assert "pets: broken pictures, which --skip-broken leaves out: 3: " in told
    assert all(f"{name}: " in told for name in ("bee/cut.jpg", "cat/1.png", "dog/text.jpg"))
    assert sorted(os.listdir(folder.parent)) == ["pets"]


def test_files_of_other_kinds(folder, tmp_path):
    """Names in any encoding, links that lead nowhere or round, and pipes, which nobody writes to."""
    picture = folder / "bee" / "1.png"
    shutil.copy(picture, folder / "bee" / os.fsdecode(b"\xff\n.png"))
    shutil.copy(picture, folder / "cat" / "line\n\x1b[31m.png")
    (folder / "dog" / "round").symlink_to(folder / "dog")
    (folder / "dog" / "nowhere.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "dog" / "pipe.png")
    out, manifest = build(folder, skip_broken=True)
    assert manifest["databases"]["train_lmdb"]["records_of_label"][:2] == [9, 9]
    assert sum(entry["records"] for entry in manifest["databases"].values()) == 32
    assert sorted(manifest["source"]["broken"]) == [
        "dog/nowhere.png: No such file or directory",
        "dog/pipe.png: is no regular file",
    ]
    assert verify(out) == []


def test_broken_pictures_are_left_out_and_named(folder, capfd):
    spoil(folder)
    out = folder.parent / "out"
    arguments = ["images", str(folder), "--size", "6x8", "-o", str(out), "--skip-broken"]
    assert main(arguments) == 0
    told = capfd.readouterr()
    assert told.out.startswith(f"{out}: 23 training and 6 test records of 3x6x8 in 3 classes, in")
    assert told.out.endswith(f": python -m netgen fit cifar10_full {out}\n")
    lines = sorted(told.err.splitlines())
    assert [
        line.partition(": ")[2].partition(": ")[2].partition(": ")[0] for line in lines[1:]
    ] == [
        "bee/cut.jpg",
        "cat/1.png",
        "dog/text.jpg",
    ]
    assert lines[0] == "data_prep: left out, being no pictures by their names: 1 files"
    assert verify(out) == [] and len(records(out / "train_lmdb")) == 23
    assert main(arguments) == 0
    assert "finished already, 23 training" in capfd.readouterr().out


def test_a_finished_folder_of_other_pictures_is_not_taken_for_this_one(folder):
    out, manifest = build(folder)
    assert build_images(folder, SMALL, out) == (manifest, False)
    with pytest.raises(DataError, match=r"finished with width 8, asked for width 9; --force"):
        build_images(folder, ImageOptions(6, 9), out)
    draw(folder / "cat" / "new.png", np.random.RandomState(3))
    with pytest.raises(
        DataError, match=r"out: was made of other pictures than .*pets has; --force"
    ):
        build_images(folder, SMALL, out)
    manifest, fresh = build_images(folder, SMALL, out, force=True)
    assert fresh and manifest["databases"]["train_lmdb"]["records"] == 25 and verify(out) == []


def test_folders_that_hold_no_classes(folder, tmp_path):
    with pytest.raises(DataError, match="nowhere: No such file or directory"):
        build_images(tmp_path / "nowhere", SMALL, tmp_path / "out")
    with pytest.raises(
        DataError, match="bee: a folder for each class is wanted, there is only one, more"
    ):
        build_images(folder / "bee", SMALL, tmp_path / "out")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="pets: no pictures in the folder empty"):
        build_images(folder, SMALL, tmp_path / "out")
    (folder / "empty").rmdir()
    with pytest.raises(DataError, match="a test fraction of 0.01 leave none to test"):
        build_images(folder, ImageOptions(test_fraction=0.01), tmp_path / "out")
    name = os.fsdecode(b"\xffa")
    (folder / name).mkdir()
    with pytest.raises(DataError, match="is no line of UTF-8 text; rename it"):
        build_images(folder, SMALL, tmp_path / "out")
    (folder / name).rmdir()
    (folder / "a\nb").mkdir()
    with pytest.raises(
        DataError, match=r"the class name 'a\\nb' is no line of UTF-8 text; rename it"
    ):
        build_images(folder, SMALL, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--size", "0"], "'0' is not a size in pixels, 32 or 48x64"),
        (["--size", "3x"], "'3x' is not a size in pixels, 32 or 48x64"),
        (["--test-fraction", "1"], "'1' is not a number between 0 and 1"),
        (["--encoded", "--pad", "4"], "--pad puts zeros around pixels: not with --encoded"),
        (["--test-fraction", "0.5", "--test-folder", "x"], "not allowed with argument"),
    ],
)
def test_flags_that_are_refused(folder, capfd, flags, told):
    try:
        status = main(["images", str(folder), "-o", str(folder.parent / "out"), *flags])
    except SystemExit as end:
        status = end.code
    lines = capfd.readouterr().err.splitlines()
    assert status == 1 and len(lines) == 1 and told in lines[0]


def test_a_log_is_told_now_and_then(monkeypatch, capfd):
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    for _ in progress.slices(1200, 500, "training"):
        pass
    assert list(progress.progress(iter("ab"), "reading")) == ["a", "b"]
    assert capfd.readouterr().err.splitlines() == [
        "training: 500 of 1,200 images",
        "training: 1,000 of 1,200 images",
        "training: 1,200 of 1,200 images",
        "reading: 1",
        "reading: 2",
    ]
