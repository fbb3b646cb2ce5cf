"""caffe verify: what is whole, and what is not."""

import pytest


@pytest.mark.parametrize("tail", ["", ".h5"])
def test_a_snapshot_is_checked_by_the_checksums_of_its_resume(caffe, work, write_solver, tail):
    form = "HDF5" if tail else "BINARYPROTO"
    caffe("train", "-solver", write_solver(max_iter=2, snapshot_format=form))
    model, state = f"s_iter_2.caffemodel{tail}", f"s_iter_2.solverstate{tail}"
    files = [model, state, f"{state}.resume"]
    whole = caffe("verify", *files)
    assert whole.status == 0
    assert whole.out.splitlines() == [
        f"{model}: ok, {model} has the SHA-256 that was written",
        f"{state}: ok, {state} has the SHA-256 that was written",
        f"{state}.resume: ok, of iteration 2; {model} has the SHA-256 that was written; "
        f"{state} has the SHA-256 that was written",
    ]
    content = bytearray((work / model).read_bytes())
    content[-50] ^= 1  # of a weight
    (work / model).write_bytes(content)
    told = caffe("verify", *files)
    assert told.status == 1
    assert told.out.count("NOT WHOLE") == 2 and "was written" in told.out.splitlines()[0]
    (work / f"{state}.resume").unlink()
    assert "there is no" in caffe("verify", model).out


def test_databases_and_what_is_nothing_of_ours(caffe, work, tiny_lmdbs):
    good, other = caffe("verify", tiny_lmdbs / "train_lmdb"), caffe("verify", "net.prototxt", "no")
    assert good.status == 0 and "records of" in good.out
    lines = other.out.splitlines()
    assert other.status == 1 and len(lines) == 2
    assert lines[0].startswith("net.prototxt: NOT WHOLE: neither a .caffemodel")
    assert lines[1] == "no: NOT WHOLE: no such file"
    (work / "cut").mkdir()
    content = (tiny_lmdbs / "train_lmdb" / "data.mdb").read_bytes()
    (work / "cut" / "data.mdb").write_bytes(content[:9000])
    cut = caffe("verify", "cut")
    assert cut.status == 1 and "data.mdb was cut" in cut.out
    assert caffe("verify").status == 1
