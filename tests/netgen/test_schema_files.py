"""Files: missing, broken, and written whole or not at all."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from netgen import schema
from netgen.schema import caffe_pb
from netgen.schema.files import DAY, host, lock, read_bytes, swept_hosts, temporary_name

READERS = [
    schema.read_net,
    schema.read_solver,
    schema.read_caffemodel,
    schema.read_solverstate,
    schema.read_blob,
]


def one_line(call, *args):
    with pytest.raises(schema.SchemaError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_missing_directory_and_empty(reader, tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    gone = tmp_path / "gone"
    assert one_line(reader, gone) == f"File not found: {gone}"
    assert one_line(reader, str(tmp_path)) == f"{tmp_path}: cannot be read: Is a directory"
    assert one_line(reader, empty) == f"{empty}: the file is empty"
    inside = empty / "x"
    assert one_line(reader, inside) == f"{inside}: cannot be read: Not a directory"


def test_text_that_is_not_text(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'name: "a"\nlayer {\x00\xfe}\n')
    assert one_line(schema.read_net, path) == f"{path}:2: not text (a binary file?)"
    path.write_bytes(b" \n\t\n")
    assert one_line(schema.read_net, path) == f"{path}: the file is empty"


def test_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'\xef\xbb\xbfname: "a"\r\n')
    assert schema.read_net(path).name == "a"


def test_errors_in_text_name_the_file(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "a"\nbase_rl: 1\n')
    assert one_line(schema.read_solver, path) == (
        f'{path}:2:1: Message type "caffe.SolverParameter" has no field named "base_rl"'
    )


def test_truncated_binary(tmp_path):
    path = tmp_path / "net.caffemodel"
    net = caffe_pb.NetParameter(name="n", layer=[{"name": "l", "blobs": [{"data": [1, 2, 3]}]}])
    data = net.SerializeToString()
    path.write_bytes(data)
    assert schema.read_caffemodel(path) == net
    for size in range(4, len(data)):
        path.write_bytes(data[:size])
        assert one_line(schema.read_caffemodel, path) == (
            f"{path}: not a whole caffe.NetParameter (truncated, or another kind of file)"
        )


def test_text_in_place_of_binary(tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_text('name: "n"\nlayer { name: "l" }\n')
    assert "not a whole caffe.NetParameter" in one_line(schema.read_caffemodel, path)


def test_write_and_read_all_kinds(tmp_path):
    net = caffe_pb.NetParameter(name="n", layer=[{"name": "l", "type": "ReLU"}])
    solver = caffe_pb.SolverParameter(net="n.prototxt", base_lr=0.1)
    state = caffe_pb.SolverState(iter=3, learned_net="n", history=[{"data": [1]}])
    schema.write_text(net, tmp_path / "n")
    assert schema.read_net(tmp_path / "n") == net
    schema.write_text(solver, tmp_path / "s")
    assert schema.read_solver(tmp_path / "s") == solver
    schema.write_binary(net, tmp_path / "n")
    assert schema.read_caffemodel(tmp_path / "n") == net
    schema.write_binary(state, tmp_path / "n")
    assert schema.read_solverstate(tmp_path / "n") == state
    schema.write_binary(state.history[0], tmp_path / "n")
    assert schema.read_blob(tmp_path / "n") == state.history[0]
    assert sorted(os.listdir(tmp_path)) == ["n", "s"]


def test_write_errors_are_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    net = caffe_pb.NetParameter(name="n")
    for path, why in [
        (tmp_path / "no" / "n", "No such file or directory"),
        (tmp_path / "file" / "n", "Not a directory"),
        (tmp_path, "Is a directory"),
    ]:
        assert one_line(schema.write_text, net, path) == f"{path}: cannot be written: {why}"
    assert os.listdir(tmp_path) == ["file"]


def test_message_without_a_required_field_is_not_written(tmp_path):
    net = caffe_pb.NetParameter(layer=[{"clip_param": {"min": 0}}])
    assert "clip_param.max" in one_line(schema.write_binary, net, tmp_path / "n")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", ["write_text", "write_binary"])
def test_a_full_disk_leaves_the_old_file(write, tmp_path):
    path = tmp_path / "net"
    path.write_text("old")
    # In a process of its own: no file, its output's included, may grow beyond 64 bytes.
    code = f"""
import resource, sys
from netgen import schema
from netgen.schema import caffe_pb
from netgen.schema.files import host
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
try:
    schema.{write}(caffe_pb.NetParameter(name="n" * 100_000), sys.argv[1])
except schema.SchemaError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == f"{path}: cannot be written: File too large\n"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["net"]


def test_a_link_stays_a_link_and_modes_follow_the_umask(tmp_path):
    (tmp_path / "sub").mkdir()
    link = tmp_path / "link"
    link.symlink_to("sub/net")
    before = os.umask(0o027)
    try:
        schema.write_text(caffe_pb.NetParameter(name="n"), link)
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert (tmp_path / "sub" / "net").read_text() == 'name: "n"\n'
    assert stat.S_IMODE(os.stat(link).st_mode) == 0o640


def test_a_pipe_is_written_to_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    schema.write_text(caffe_pb.NetParameter(name="n"), pipe)
    reader.join(timeout=10)
    assert read == ['name: "n"\n']
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_reader_of_stdout_is_written_to(tmp_path):
    code = "from netgen import schema; schema.write_bytes(b'bytes', '/dev/stdout')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, os.listdir(tmp_path)) == (0, b"bytes", [])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_block_that_raises_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "file"
    for old in (None, b"old"):
        with pytest.raises(error), schema.writing(path) as file:
            file.write(b"half")
            assert not path.exists() or path.read_bytes() == b"old"
            raise error
        assert os.listdir(tmp_path) == (["file"] if old else [])
        path.write_bytes(b"old")


def test_an_error_of_another_file_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), schema.writing(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert os.listdir(tmp_path) == []


def test_text_is_utf_8_and_line_ends_are_ours(tmp_path):
    with schema.writing(tmp_path / "file", "w", newline="") as file:
        file.write("\u00e9\r\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\r\n"


def test_the_temporary_name_is_new_each_time_and_follows_no_link(tmp_path, monkeypatch):
    names = []
    for _ in range(2):
        with schema.writing(tmp_path / "file") as file:
            names.append(os.path.basename(file.name))
    assert names[0] != names[1] and all(name.startswith(".file.") for name in names)

    monkeypatch.setattr(os, "urandom", bytes)  # whoever could guess the name laid a trap there
    (tmp_path / "victim").write_text("kept")
    trap = tmp_path / f".file.{host()}.{bytes(8).hex()}.tmp"
    for make in (trap.symlink_to, trap.hardlink_to):
        make(tmp_path / "victim")
        assert "File exists" in one_line(schema.write_bytes, b"x", tmp_path / "file")
        assert (tmp_path / "victim").read_text() == "kept"
        trap.unlink()


def test_a_file_that_is_replaced_hands_its_permissions_on(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o604)
    schema.write_bytes(b"new", path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o604)


def test_file_and_folder_are_on_the_disk_in_this_order(tmp_path, monkeypatch):
    seen = []

    def fsync(handle, real=os.fsync):
        real(handle)
        there = stat.S_ISDIR(os.fstat(handle).st_mode)
        seen.append(("folder" if there else "file", (tmp_path / "file").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    schema.write_bytes(b"x", tmp_path / "file")
    assert seen == [("file", False), ("folder", True)]


def test_who_sweeps_before_the_renaming_leaves_the_file(tmp_path, monkeypatch):
    def replace(old, new, real=os.replace):
        temporary_name(tmp_path / "other")  # as another thread or process that writes there does
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    schema.write_bytes(b"x", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_name_of_any_length_that_the_disk_takes(tmp_path):
    path = tmp_path / ("n" * 255)
    schema.write_bytes(b"x", path)
    assert path.read_bytes() == b"x"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    code = """
import os, signal, sys
from netgen import schema
with schema.writing(sys.argv[1]) as file:
    file.write(b"x")
    file.flush()
    print(os.path.basename(file.name), flush=True)
    signal.pause()
"""
    command = [sys.executable, "-c", code, tmp_path / "file"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as alive,
    ):
        left, held = killed.stdout.readline().strip(), alive.stdout.readline().strip()
        killed.kill()
        killed.wait()
        ours = f"{host()}.0123456789abcdef.tmp"
        elsewhere = f".file.{int(host(), 16) ^ 1:08x}.0123456789abcdef.tmp"  # of a container
        users = [".file.tmp", f".file.{ours}.bak", f"file.{ours}", ".file.container.0123.tmp"]
        for name in (*users, elsewhere):
            (tmp_path / name).write_text("mine")
            os.utime(tmp_path / name, (time.time() - 2 * DAY,) * 2)
        assert {left, held} <= set(os.listdir(tmp_path))
        schema.write_bytes(b"y", tmp_path / "another")
        there = [] if swept_hosts(tmp_path) != host() else [elsewhere]
        assert sorted(os.listdir(tmp_path)) == sorted(["another", held, *users, *there])
        alive.kill()


@pytest.mark.parametrize(
    ("kinds", "all_hosts"),
    [("ext4", True), ("tmpfs", True), ("nfs4", False), ("fuse.sshfs", False),
     ("ext4 nfs", False), ("", False)],
)  # fmt: skip
def test_what_other_hosts_left_is_looked_at_on_disks_that_nobody_else_has(
    tmp_path, kinds, all_hosts
):
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 27 0:0 / /proc rw,relatime - proc proc rw\n"
        + "".join(f"25 24 {number} / /x rw shared:7 - {kind} /dev/x rw\n" for kind in kinds.split())
    )
    assert (swept_hosts(tmp_path, mounts) != host()) is all_hosts
    assert swept_hosts(tmp_path, tmp_path / "none") == host()


@pytest.mark.skipif(swept_hosts(".") == host(), reason="this disk may be another machine's too")
def test_a_living_process_of_another_container_keeps_its_file(tmp_path):
    name = tmp_path / f".file.{int(host(), 16) ^ 1:08x}.0123456789abcdef.tmp"
    with open(name, "wb") as file:
        file.write(b"half")
        file.flush()
        os.utime(name, (time.time() - 2 * DAY,) * 2)
        lock(file.fileno())
        schema.write_bytes(b"y", tmp_path / "file")
        assert name.exists()
    os.utime(name, (time.time() - DAY / 2,) * 2)  # maybe written from a machine that we serve
    schema.write_bytes(b"y", tmp_path / "file")
    assert name.exists()
    os.utime(name, (time.time() - 2 * DAY,) * 2)
    schema.write_bytes(b"y", tmp_path / "file")
    assert not name.exists()


@pytest.mark.skipif(swept_hosts(".") == host(), reason="this disk may be another machine's too")
def test_a_file_locked_by_a_machine_that_we_serve_stays(tmp_path):
    """The kernel's server takes such a lock as fcntl's, which another process here holds."""
    name = tmp_path / f".file.{int(host(), 16) ^ 1:08x}.0123456789abcdef.tmp"
    name.write_bytes(b"half")
    os.utime(name, (time.time() - 2 * DAY,) * 2)
    code = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        schema.write_bytes(b"y", tmp_path / "file")
        assert name.exists()
    schema.write_bytes(b"y", tmp_path / "file")
    assert not name.exists()


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs /dev/zero")
def test_what_has_no_end_is_one_line(tmp_path):
    with pytest.raises(schema.SchemaError, match="^/dev/zero: larger than 16,777,216 bytes$"):
        read_bytes("/dev/zero")
    path = tmp_path / "holes.caffemodel"
    with open(path, "wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(schema.SchemaError, match="larger than 2,147,483,647 bytes$"):
        schema.read_caffemodel(path)
    with pytest.raises(schema.SchemaError, match="^/dev/null: the file is empty$"):
        read_bytes("/dev/null")
