"""convert_imageset and compute_image_mean beside what Caffe's own programs have written.

Checksums and printed means are those of the C++ programs of BVLC 1.0, built with OpenCV 4.6.
"""

import io
import zlib

import numpy as np
import plyvel
import pytest
from PIL import Image

from caffe_tools import compute_image_mean, convert_imageset
from data_prep import convert as convert_module
from data_prep import encode_datums, read_lmdb, workers, write_lmdb
from netgen.commandline import exit_status, print_error
from netgen.schema import caffe_pb, image

NAMES = ["a.png", "sub dir/gray one.png", "palette.PNG", "alpha.png", "b.bmp", "a.png"]
LABELS = [3, 1, 0, -2, 300, 0]
LINES = [
    "a.png 3",
    "sub dir/gray one.png 1",
    "none.png 1",
    "palette.PNG 0.7",
    "broken.png 2",
    "alpha.png -2",
    "b.bmp 300",
    "a.png word",
]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Files whose pixels no version of a library changes, what cannot be read, and their list."""
    monkeypatch.chdir(tmp_path)
    random = np.random.RandomState(5)
    folder = tmp_path / "pics"
    (folder / "sub dir").mkdir(parents=True)

    def color(height, width):
        return Image.fromarray(random.randint(0, 256, (height, width, 3)).astype(np.uint8))

    color(12, 17).save(folder / "a.png")
    color(9, 9).convert("L").save(folder / "sub dir" / "gray one.png")
    color(20, 8).quantize(16).save(folder / "palette.PNG")
    color(10, 10).convert("RGBA").save(folder / "alpha.png")
    color(6, 7).save(folder / "b.bmp")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:90])
    (tmp_path / "list.txt").write_text("\n".join(LINES) + "\n")
    return folder


@pytest.fixture
def program(capfd):
    """program("convert_imageset", *arguments): run its main here; (exit status, stdout, stderr)."""
    mains = {
        "convert_imageset": convert_imageset.main,
        "compute_image_mean": compute_image_mean.main,
    }

    def run(name, *arguments):
        try:
            status = exit_status(
                lambda: mains[name](list(map(str, arguments))), lambda line: print_error(name, line)
            )
        except SystemExit as end:
            status = end.code
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def convert(program, pictures):
    """Runs the program on the pictures; the records, each parsed."""

    def run(*flags, status=0, out="db"):
        found, _, told = program("convert_imageset", *flags, "pics/", "list.txt", out)
        assert found == status, told
        return told

    return run


def records(path="db"):
    return [(key.decode(), caffe_pb.Datum.FromString(value)) for key, value in read_lmdb(path)]


def sum_of(path):
    total = 0
    for key, value in read_lmdb(path):
        total = zlib.crc32(key + value, total)
    return total


@pytest.mark.parametrize(
    ("flags", "sum_of_caffe"),
    [
        ([], 1964719757),
        (["-gray"], 869281228),
        (["-resize_width", "5", "--resize_height=6"], 4175751252),
        (["--gray=true", "-resize_width=30", "-resize_height", "31"], 2028232056),
        (["-encode_type", "jpg"], 2149896794),
        (["-encode_type=jpg", "-gray"], 2491567471),
        (["-encode_type", "jpg", "-resize_width", "16", "-resize_height", "24"], 2169002384),
    ],
)
def test_records_are_those_of_caffe(convert, flags, sum_of_caffe):
    convert(*flags)
    assert sum_of("db") == sum_of_caffe


def test_keys_labels_and_log(convert):
    told = convert()
    assert [key for key, _ in records()] == [
        f"{number:08}_{name}" for number, name in zip([0, 1, 3, 5, 6, 7], NAMES, strict=True)
    ]
    assert [datum.label for _, datum in records()] == LABELS
    messages = [line.partition("] ")[2] for line in told.splitlines()]
    assert messages == [
        "A total of 8 images.",
        "Opened lmdb db",
        "Could not open or find file pics/none.png",
        "Could not open or find file pics/broken.png",
        "Processed 6 files.",
    ]
    assert "] Could" in told and told.splitlines()[2].startswith("E")


@pytest.mark.parametrize("flags", [["-encoded"], ["-encoded", "-gray"]])
def test_encoded_records_are_the_files_themselves(convert, pictures, flags):
    convert(*flags)
    for (_, datum), name, label in zip(records(), NAMES, LABELS, strict=True):
        assert (datum.data, datum.label) == ((pictures / name).read_bytes(), label)
        assert datum.encoded and not datum.HasField("channels")


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "webp"])
def test_lossless_encodings_keep_every_pixel(program, convert, kind):
    convert(out="plain")
    assert "encode_type specified, assuming encoded=true." in convert("-encode_type", kind)
    plain = [np.frombuffer(datum.data, np.uint8) for _, datum in records("plain")]
    for (_, datum), pixels in zip(records(), plain, strict=True):
        decoded = image.decode(io.BytesIO(datum.data), True)
        np.testing.assert_array_equal(image.planes(decoded).ravel(), pixels)


def test_shuffling_changes_the_order_of_all_lines(convert, pictures):
    names = [f"n{number}.png" for number in range(40)]
    for name in names:
        (pictures / name).write_bytes((pictures / "a.png").read_bytes())
    (pictures.parent / "list.txt").write_text("\n".join(f"{n} {n[1:-4]}" for n in names))
    assert "Shuffling data" in convert("-shuffle")
    found = records()
    order = [key.partition("_")[2] for key, _ in found]
    assert order != names and sorted(order) == sorted(names)
    assert all(
        datum.label == int(name[1:-4]) for name, (_, datum) in zip(order, found, strict=True)
    )
    convert("-noshuffle", out="plain")
    assert [key.partition("_")[2] for key, _ in records("plain")] == names


def test_more_than_one_transaction(convert, pictures):
    lines = [f"{NAMES[n % 6]} {n}" for n in range(2050)]
    (pictures.parent / "list.txt").write_text("\n".join(lines))
    told = convert("-resize_width", "2", "-resize_height", "2")
    assert [line.partition("Processed ")[2] for line in told.splitlines()][-3:] == [
        "1000 files.",
        "2000 files.",
        "2050 files.",
    ]
    assert [datum.label for _, datum in records()] == list(range(2050))


def test_large_pictures_do_not_wait_for_a_thousand(convert, monkeypatch):
    convert(out="whole")
    monkeypatch.setattr(convert_module, "LARGEST_COMMIT", 100)
    monkeypatch.setattr(workers, "MEMORY", 1)
    assert convert(out="parts").endswith("Processed 6 files.\n")
    assert list(read_lmdb("parts")) == list(read_lmdb("whole"))


def test_leveldb_holds_the_same_records(convert, program):
    convert(out="lmdb")
    assert "Opened leveldb level" in convert("-backend", "leveldb", out="level")
    database = plyvel.DB("level")
    found = list(database)
    database.close()
    assert found == list(read_lmdb("lmdb"))
    convert("-resize_width=4", "-resize_height=4", out="small")
    convert("-backend=leveldb", "-resize_width=4", "-resize_height=4", out="small level")
    assert program("compute_image_mean", "small", "one")[0] == 0
    assert program("compute_image_mean", "--backend=leveldb", "small level", "two")[0] == 0
    with open("one", "rb") as one, open("two", "rb") as two:
        assert one.read() == two.read()


def test_sizes_are_checked(convert, tmp_path):
    told = convert("-check_size", status=1)
    assert "gray one.png: Incorrect data field size 243 (612 before it)" in told
    assert not (tmp_path / "db").exists()
    assert "-check_size compares pixels" in convert("-check_size", "-encoded", status=1)
    convert("-check_size", "-resize_width", "3", "-resize_height", "3")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "list.txt: the file is empty"),
        ("none.png 1\nneither.png 2\n", "list.txt: of its 2 pictures below pics/ none can be read"),
        ("a" * 600 + ".png 1\n", "its key has 613 bytes, LMDB takes 511"),
    ],
)
def test_lists_that_make_no_database(convert, tmp_path, text, told):
    (tmp_path / "list.txt").write_text(text)
    assert told in convert(status=1)
    assert not (tmp_path / "db").exists()


def test_what_cannot_be_asked_for(convert, program, pictures):
    (pictures.parent / "there").mkdir()
    assert "there: is there already" in convert(status=1, out="there")
    assert "no image format of the ending 'nosuch'" in convert("-encode_type", "nosuch", status=1)
    assert "argument -backend: invalid choice: 'hdf5'" in convert("-backend", "hdf5", status=1)
    assert "neither true nor false" in convert("-gray=perhaps", status=1)
    assert "unrecognized arguments: -colour=" in convert("-colour", "", status=1)
    status, _, told = program("convert_imageset", "pics/", "nolist", "db")
    assert (status, told) == (1, "convert_imageset: File not found: nolist\n")
    assert program("convert_imageset")[0] == 1
    for flag in ("-h", "-help", "--help"):
        status, out, _ = program("convert_imageset", flag)
        assert status == 0 and "convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE DB_NAME" in out


@pytest.mark.parametrize(
    ("flags", "means", "sum_of_caffe"),
    [
        (["-resize_width", "5", "-resize_height", "6"], ["127.967", "134.372", "129.611"], 3379099992),
        (["-gray", "-resize_width=30", "-resize_height=31"], ["130.764"], 58457647),
        (
            ["-encode_type", "jpg", "-resize_width=16", "-resize_height=24"],
            ["128.085", "132.192", "130.045"],
            2252350510,
        ),
    ],
)  # fmt: skip
def test_mean_is_that_of_caffe(convert, program, tmp_path, flags, means, sum_of_caffe):
    convert(*flags)
    status, _, told = program("compute_image_mean", "db", "mean.binaryproto")
    assert status == 0
    assert zlib.crc32((tmp_path / "mean.binaryproto").read_bytes()) == sum_of_caffe
    assert ("Decoding Datum" in told) == ("-encode_type" in flags)
    assert told.splitlines()[-len(means) - 1].endswith(f"Number of channels: {len(means)}")
    assert [line.partition("]: ")[2] for line in told.splitlines() if "mean_value" in line] == means


def test_mean_of_floats_is_added_up_as_caffe_adds(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.RandomState(6).normal(0, 40, (700, 2, 5, 4)).astype(np.float32)
    write_lmdb("db", [list(encode_datums(images, range(700)))])
    status, _, told = program("compute_image_mean", "db", "mean.binaryproto")
    assert status == 0 and "mean_value channel [0]: -0.0396322" in told
    assert "mean_value channel [1]: -0.0103461" in told
    assert zlib.crc32((tmp_path / "mean.binaryproto").read_bytes()) == 1781356772


def test_databases_without_a_mean(convert, program, tmp_path):
    convert()
    status, _, told = program("compute_image_mean", "db", "mean")
    assert status == 1 and "Incorrect data field size 243 (the first has 612)" in told
    assert not (tmp_path / "mean").exists()
    status, _, told = program("compute_image_mean", "nowhere")
    assert (status, told.count("\n")) == (1, 1) and "nowhere: cannot be opened as an LMDB" in told
    write_lmdb("text", [[b"\xff no datum"]])
    status, _, told = program("compute_image_mean", "text")
    assert status == 1 and "text: record 0 (00000): it is not a Datum" in told
    write_lmdb("none", [])
    assert "none: it holds no records" in program("compute_image_mean", "none")[2]


def test_as_programs_of_their_own(tool, pictures, tmp_path):
    flags = "-resize_width=5", "-resize_height=6"
    assert tool("convert_imageset", *flags, "pics/", "list.txt", "db", cwd=tmp_path)[0] == 0
    status, out, told = tool("compute_image_mean", "db", "mean.binaryproto", cwd=tmp_path)
    assert (status, out) == (0, "") and told.splitlines()[-1].endswith("channel [2]: 129.611")
    assert zlib.crc32((tmp_path / "mean.binaryproto").read_bytes()) == 3379099992
    status, out, told = tool("convert_imageset", "pics/", "list.txt", "db", cwd=tmp_path)
    assert (status, out) == (1, "") and told.count("\n") == 2  # the number of images, and the error
