import numpy as np
import pytest
import torch

from netgen import schema
from netgen.graph import NetError
from netgen.schema import caffe_pb
from runner.net.parameters import Parameters


def spec(text):
    return schema.parse_text(text, caffe_pb.ParamSpec)


def three():
    """Blobs of 6, 1 and 4 values, laid out."""
    parameters = Parameters()
    for i, (shape, text) in enumerate(
        [((2, 3), "lr_mult: 2 decay_mult: 0"), ((), "lr_mult: 0"), ((4,), "")]
    ):
        assert parameters.add(f"l{i}", 0, shape, spec(text)) == i
    parameters.allocate(torch.device("cpu"))
    return parameters


def test_every_blob_is_a_view_of_one_buffer_of_values_and_one_of_gradients():
    parameters = three()
    assert [tuple(blob.shape) for blob in parameters.blobs] == [(2, 3), (), (4,)]
    assert parameters.data.numel() == parameters.grad.numel() == 11
    parameters.data.copy_(torch.arange(11.0))
    np.testing.assert_array_equal(parameters.blobs[0].detach(), np.arange(6).reshape(2, 3))
    assert parameters.blobs[1].item() == 6
    (3 * parameters.blobs[2]).sum().backward()
    parameters.blobs[2].sum().backward()
    np.testing.assert_array_equal(parameters.grad, [0] * 7 + [4] * 4)
    parameters.grad.zero_()
    assert not parameters.blobs[2].grad.any()


def test_a_blob_may_change_in_forward_without_spoiling_the_others_graph():
    parameters = three()
    parameters.data.fill_(2)
    square = parameters.blobs[2] ** 2  # autograd keeps the blob's values for backward
    parameters.blobs[0].detach().add_(1)
    square.sum().backward()
    np.testing.assert_array_equal(parameters.blobs[2].grad, [4] * 4)


def test_split_cuts_a_flat_vector_as_the_blobs_lie():
    parts = three().split(torch.arange(11.0))
    assert [tuple(part.shape) for part in parts] == [(2, 3), (), (4,)]
    assert parts[1].item() == 6 and parts[2].tolist() == [7, 8, 9, 10]


def test_blobs_of_the_same_multipliers_lie_side_by_side():
    assert three().groups() == [(slice(0, 6), 2, 0), (slice(6, 7), 0, 1), (slice(7, 11), 1, 1)]
    mixed = Parameters()
    for i, (size, text) in enumerate([(2, ""), (1, "lr_mult: 2"), (3, "decay_mult: 1")]):
        mixed.add("l", i, (size,), spec(text))
    mixed.allocate(torch.device("cpu"))
    assert mixed.groups() == [(slice(0, 5), 1, 1), (slice(5, 6), 2, 1)]
    mixed.data.copy_(torch.arange(6.0))
    assert [blob.tolist() for blob in mixed.blobs] == [[0, 1], [5], [2, 3, 4]]


def test_no_blobs_at_all():
    parameters = Parameters()
    parameters.allocate(torch.device("cpu"))
    assert parameters.data.numel() == 0 and parameters.blobs == []


# --- sharing ---


def test_a_name_shares_the_blob_of_who_had_it_first():
    parameters, lines = Parameters(), []
    log = lambda *line: lines.append(line)  # noqa: E731
    assert parameters.add("a", 0, (2, 3), spec('name: "w"'), log) == 0
    assert parameters.add("a", 1, (3,), spec(""), log) == 1
    assert parameters.add("b", 0, (3,), spec(""), log) == 2  # no name: its own
    assert parameters.add("b", 1, (2, 3), spec('name: "w"'), log) == 0
    assert lines == [("Sharing parameters 'w' owned by layer 'a', param index 0", "net.cpp:467")]
    parameters.allocate(torch.device("cpu"))
    assert parameters.data.numel() == 12


@pytest.mark.parametrize(
    "shape, mode, message",
    [
        (
            (3, 2),
            "",
            "Cannot share param 'w' owned by layer 'a' with layer 'b'; shape mismatch.  "
            "Owner layer param shape is 2 3 (6); sharing layer expects shape 3 2 (6)",
        ),
        ((3, 2), "share_mode: STRICT", "shape mismatch"),
        (
            (7,),
            "share_mode: PERMISSIVE",
            "Cannot share param 'w' owned by layer 'a' with layer "
            "'b'; count mismatch.  Owner layer param shape is 2 3 (6); sharing layer shape is 7 (7)",
        ),
    ],
)
def test_shapes_that_cannot_be_shared(shape, mode, message):
    parameters = Parameters()
    parameters.add("a", 0, (2, 3), spec('name: "w"'))
    with pytest.raises(NetError) as error:
        parameters.add("b", 0, shape, spec(f'name: "w" {mode}'))
    assert message in str(error.value)


def test_permissive_sharing_asks_for_the_count_alone():
    parameters = Parameters()
    parameters.add("a", 0, (2, 3), spec('name: "w"'))
    assert parameters.add("b", 0, (6,), spec('name: "w" share_mode: PERMISSIVE')) == 0
    assert parameters.learnable[0].shape == (2, 3)


@pytest.mark.parametrize("field", ["lr_mult", "decay_mult"])
def test_multipliers_of_shared_blobs(field):
    def shared(*given):
        parameters = Parameters()
        for layer, text in enumerate(given):
            parameters.add(str(layer), 0, (2,), spec(f'name: "w" {text}'))
        return getattr(parameters.learnable[0], field)

    assert shared(f"{field}: 3", "") == 3  # who says nothing agrees
    assert shared("", f"{field}: 3", "") == 3
    assert shared(f"{field}: 3", f"{field}: 3") == 3
    with pytest.raises(NetError, match=f"Shared param 'w' has mismatched {field}"):
        shared("", f"{field}: 3", f"{field}: 1")
