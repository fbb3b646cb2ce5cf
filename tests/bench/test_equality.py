"""The hand-written nets are the Caffe nets, and the check would notice if they were not."""

import pytest
import torch

import runner
from bench import equality, hand_written, subjects
from netgen import nets

PARAMETERS = {
    "allcnn-c": 1_369_738,
    "msplit1": 1_500_826,
    "msplit2": 1_555_498,
    "lenet": 431_080,
    "cifar10_full": 89_578,
    "resnet20": 269_722,
}
WIDTH = 0.3


@pytest.fixture(autouse=True)
def _quiet():
    with runner.quiet():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


def pair(folder, name, module=None):
    records = subjects.write_records(folder, subjects.SUBJECTS[name], 16)
    path = subjects.write_solver(records, name, width=WIDTH, batch_size=4)
    loop = subjects.hand_loop(name, records, 4, module or hand_written.NETS[name](WIDTH))
    return name, subjects.our_solver(path), loop, nets.NetOptions(width=WIDTH)


@pytest.mark.parametrize("name", PARAMETERS)
def test_same_parameters_outputs_and_gradients(name, folder):
    assert equality.parameters(hand_written.NETS[name](1.0)) == PARAMETERS[name]
    found = equality.check(*pair(folder, name))
    assert set(found) == {"loss", "gradient", "output"}
    assert all(difference < equality.TOLERANCES[what] for what, difference in found.items())


def test_another_pooling_is_noticed(folder):
    module = hand_written.lenet(WIDTH)
    module[1] = torch.nn.AvgPool2d(2)
    with pytest.raises(equality.NotEqual, match="lenet: (loss|gradient|output) differs by"):
        equality.check(*pair(folder, "lenet", module))


def test_other_parameters_are_noticed(folder):
    with pytest.raises(equality.NotEqual, match=r"a parameter of \(6, 1, 5, 5\), by hand of \(20,"):
        equality.check(*pair(folder, "lenet", hand_written.lenet(1.0)))


@pytest.mark.parametrize("name", PARAMETERS)
def test_loops_train_on_the_same_batches(name, folder):
    """The arrays in memory are what the Data layer gives, where nothing is drawn at random."""
    _, solver, loop, _ = pair(folder, name)
    feed = next(node.layer.feed for node in solver.net.nodes if node.param.type == "Data")
    images, labels = feed.next()
    mine, theirs = loop.next()
    assert (images.shape, labels.tolist()) == (mine.shape, theirs.tolist())
    if not loop.crop:
        assert torch.allclose(images, mine, rtol=1e-5, atol=1e-4)
    before = [p.detach().clone() for p in loop.net.parameters()]
    loop.step(2)
    assert not any(
        torch.equal(old, new)
        for old, new in zip(before, loop.net.parameters(), strict=True)
        if old.dim() > 1
    )
