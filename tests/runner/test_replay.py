"""Recorded steps do what steps do: on the CPU, a tape of operations stands in for CUDA graphs."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from netgen import schema
from netgen.schema import caffe_pb
from runner.data.transform import Transform
from runner.process import recording as replay
from runner.solver import Solver

NET = """
name: "small"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { crop_size: 5 mirror: true mean_value: 100 scale: 0.01 }
  data_param { source: "FOLDER/train_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 5 mirror: true mean_value: 100 scale: 0.01 }
  data_param { source: "FOLDER/test_lmdb" batch_size: 3 backend: LMDB } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
layer { name: "noise" type: "DummyData" top: "noise" include { phase: TRAIN } dummy_data_param {
  shape { dim: 4 dim: 5 } data_filler { type: "gaussian" std: 0.1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "noise" top: "noisy"
  include { phase: TRAIN } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "noisy" bottom: "label" top: "loss"
  include { phase: TRAIN } }
layer { name: "test" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"
  include { phase: TEST } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST } }
"""
SOLVER = """
net: "small.prototxt" base_lr: 0.1 gamma: 0.9 power: 0.75 weight_decay: 0.01 max_iter: 12
test_iter: 6 test_interval: 4 display: 3 average_loss: 2 random_seed: 1 snapshot: 8
"""
SOLVERS = [
    'type: "SGD" momentum: 0.9 lr_policy: "inv"',
    'type: "Nesterov" momentum: 0.9 lr_policy: "exp" iter_size: 2',
    'type: "Adam" momentum: 0.9 momentum2: 0.99 lr_policy: "fixed" clip_gradients: 0.5',
    'type: "AdaGrad" lr_policy: "step" stepsize: 5 regularization_type: "L1"',
    'type: "RMSProp" rms_decay: 0.9 lr_policy: "poly"',
    'type: "AdaDelta" momentum: 0.9 lr_policy: "fixed" delta: 1e-6 snapshot_diff: true',
]


class Tape(TorchDispatchMode):
    """A CUDA graph's stand-in on the CPU: operations recorded below autograd, and run again.

    Like a CUDA graph it knows tensors and kernels only: whatever Python did or decided while it
    was recorded stays as it was, and recording changes nothing. So a step that may not be
    recorded, or reads an input from elsewhere than where it was put, goes wrong here as there.
    """

    replays = 0

    def __init__(self, function, generator):
        super().__init__()
        self.calls, self.made, self.before = [], [], {}
        drawn = None if generator is None else generator.get_state()
        with self:
            self.result = function()
        for tensor, value in self.before.values():
            tensor.copy_(value)
        if generator is not None:
            generator.set_state(drawn)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        read = func is torch.ops.aten._local_scalar_dense.default
        if read and args[0].is_floating_point():  # labels are checked on a CPU only
            raise RuntimeError("operation not permitted when stream is capturing")
        for tensor in self._written(func, args, kwargs):
            address = tensor.untyped_storage().data_ptr()
            if address not in self.made and address not in self.before:
                whole = torch.empty(0).set_(tensor.untyped_storage())
                self.before[address] = whole, whole.clone()
        outputs = func(*args, **kwargs)
        given = {x.untyped_storage().data_ptr() for x in _tensors([args, kwargs])}
        fresh = [
            x if x.untyped_storage().data_ptr() not in given else None for x in _tensors(outputs)
        ]
        self.made += [x.untyped_storage().data_ptr() for x in fresh if x is not None]
        self.calls.append((func, args, kwargs, fresh))
        return outputs

    @staticmethod
    def _written(func, args, kwargs):
        named = zip(func._schema.arguments, args, strict=False)
        pairs = [(a, v) for a, v in named] + [
            (a, kwargs[a.name]) for a in func._schema.arguments if a.name in kwargs
        ]
        return _tensors([v for a, v in pairs if a.alias_info is not None and a.alias_info.is_write])

    def replay(self):
        Tape.replays += 1
        with torch.no_grad():
            for func, args, kwargs, fresh in self.calls:
                outputs = _tensors(func(*args, **kwargs))
                for kept, new in zip(fresh, outputs, strict=True):
                    if kept is not None:
                        kept.copy_(new)
        return self.result


def _tensors(tree):
    return [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]


@pytest.fixture
def train(work, tiny_lmdbs, capfd, read_result, monkeypatch):
    """train(solver's text, recorder, snapshot to go on from): what was logged, and the Solver."""
    # A tape hears what torch does, and so a batch is made here as it is on a GPU.
    monkeypatch.setattr(Transform, "_slices", Transform._pixels)

    def call(text, record, state=None):
        monkeypatch.setattr("runner.solver.solver.recorder", lambda device: record)
        (work / "small.prototxt").write_text(NET.replace("FOLDER", str(tiny_lmdbs)))
        param = schema.parse_text(f'{SOLVER} snapshot_prefix: "{record is None}" {text}',
                                  caffe_pb.SolverParameter)  # fmt: skip
        solver = Solver(param)
        if state:
            solver.restore(state)
        solver.solve()
        return read_result(0, *capfd.readouterr()), solver

    return call


def numbers(result):
    """The log without times and file names."""
    return [line.split(" (")[0] for line in result.messages
            if line.startswith(("Iteration", "    T"))]  # fmt: skip


@pytest.mark.parametrize("text", SOLVERS)
def test_a_recorded_run_is_the_run(train, text):
    plain, expected = train(text, None)
    Tape.replays = 0
    recorded, solver = train(text, Tape)
    assert Tape.replays > 2 * (12 - replay.WARM_UP)  # passes and updates, and tests
    assert numbers(recorded) == numbers(plain)
    assert not [line for line in recorded.lines if line[0] == "W"]
    for ours, theirs in zip(
        [solver.net.parameters.data, *solver.updater.history],
        [expected.net.parameters.data, *expected.updater.history], strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(ours, theirs)


def test_a_recorded_run_resumes(train):
    _, expected = train(SOLVERS[0], None)
    train(SOLVERS[0], Tape)
    _, solver = train(SOLVERS[0], Tape, "False_iter_8.solverstate")
    assert solver.iter == 12
    torch.testing.assert_close(solver.net.parameters.data, expected.net.parameters.data)


def test_what_cannot_be_recorded_runs_as_it_is(capfd):
    calls = []

    def function(inputs):
        calls.append(len(inputs))
        return inputs[0].sum().item()

    run = replay.Replayed(function, "net 'n'", Tape)
    results = [run([torch.full((2,), float(i))]) for i in range(6)]
    assert results == [0, 2, 4, 6, 8, 10]
    log = capfd.readouterr().err
    assert log.count("net 'n' is not recorded as a CUDA graph: operation not permitted") == 1


def test_inputs_that_change_their_shapes_end_the_recording(capfd):
    run = replay.Replayed(lambda inputs: inputs[0].sum(), "net 'n'", Tape)
    sizes = [2, 2, 2, 2, 2, 3, 2]
    assert [run([torch.ones(n)]).item() for n in sizes] == sizes
    assert "net 'n' is not recorded as a CUDA graph: its inputs change their shapes" in (
        capfd.readouterr().err
    )


@pytest.mark.parametrize(
    "layers, replayable",
    [
        ('layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
         'inner_product_param { num_output: 2 } }', True),
        ('layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "y" }', False),
        # the weight of l, not spelled out, is overwritten by what Power's backward leaves
        ('layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" '
         'inner_product_param { num_output: 3 } } '
         'layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "x2" top: "l" } '
         'layer { name: "p" type: "Power" bottom: "l" top: "l2" loss_weight: 1 }', False),
    ],
)  # fmt: skip
def test_which_nets_can_be_recorded(build, layers, replayable):
    inputs = [("x", "dim: 4 dim: 3"), ("x2", "dim: 4 dim: 3"), ("s", "dim: 4")]
    text = "".join(
        f'layer {{ name: "{n}" type: "Input" top: "{n}" input_param {{ shape {{ {d} }} }} }}\n'
        for n, d in inputs
    )
    assert build(text + layers).replayable() is replayable
