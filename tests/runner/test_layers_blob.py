"""The memory of blobs: who sees what is written where, and when it is copied."""

import numpy as np
import pytest
import torch

from netgen.errors import CaffeError
from runner.layers.blob import Blob, BlobVec, SyncedMemory


def test_a_result_becomes_the_memory_unless_somebody_looks():
    memory = SyncedMemory(4)
    result = torch.arange(4.0)
    memory.put(result)
    assert memory.tensor((4,)) is result
    view = memory.array((2, 2))
    assert view.ctypes.data == result.data_ptr() and memory.watched
    memory.put(-result)
    np.testing.assert_array_equal(view, [[0, -1], [-2, -3]])
    del view
    assert not memory.watched
    other = torch.ones(4)
    memory.put(other)
    assert memory.tensor((4,)) is other


def test_what_somebody_else_may_use_is_copied():
    memory, result = SyncedMemory(4), torch.ones(4)
    memory.put(result, owned=False)
    memory.array((4,))[...] = 7
    assert (result == 1).all()


def test_what_is_kept_stays():
    memory, result = SyncedMemory(4), torch.ones(4)
    memory.put(result)
    kept = memory.kept((4,))
    memory.array((4,))[...] = 7
    assert (kept == 1).all()
    kept = memory.kept((4,))
    memory.array((4,))[...] = 8
    assert (kept == 7).all()


def test_a_layout_is_no_order():
    memory = SyncedMemory(12)
    result = torch.arange(12.0).view(1, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    memory.put(result)
    np.testing.assert_array_equal(memory.array((12,)), np.arange(12))


def test_fewer_values_leave_the_rest():
    memory = SyncedMemory(4)
    memory.array((4,))[...] = [1, 2, 3, 4]
    memory.put(torch.tensor([9.0, 8]))
    np.testing.assert_array_equal(memory.array((4,)), [9, 8, 3, 4])


def test_the_newest_of_host_and_device_counts():
    """A device that is the host stands in for a GPU: what matters is when it is copied."""
    memory = SyncedMemory(2)
    memory._mirrored = True
    memory.put(torch.tensor([1.0, 2]))
    view = memory.array((2,))
    np.testing.assert_array_equal(view, [1, 2])
    view[0] = 5
    assert memory.tensor((2,)).tolist() == [5, 2]  # asking for a view counts as writing
    memory.put(torch.tensor([3.0, 4]))
    assert view[0] == 5  # as in Caffe, until somebody asks again
    again = memory.array((2,))
    assert again.ctypes.data == view.ctypes.data and view.tolist() == [3, 4]
    view[1] = 6
    memory.flush()
    assert memory.writable((2,)).tolist() == [3, 6]


def test_legacy_axes():
    blob = Blob((2, 3))
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 1, 1, 6)
    with pytest.raises(CaffeError, match="Cannot use legacy accessors"):
        Blob((1, 1, 1, 1, 1)).num  # noqa: B018


def test_vectors():
    blobs = BlobVec()
    blobs.add_blob(2, 3)
    blobs.add_blob()
    assert [blob.shape for blob in blobs] == [(2, 3), ()] and blobs[-1] is blobs[1]
    assert type(blobs[:1]) is BlobVec and len(blobs[:1]) == 1
    for index, kind, words in ((2, IndexError, "out of range"), ("a", TypeError, "Invalid index")):
        with pytest.raises(kind, match=words):
            blobs[index]
    with pytest.raises(RuntimeError, match="takes no kwargs"):
        blobs.add_blob(n=1)
