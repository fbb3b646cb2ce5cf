"""A graphics card of paper: a device of its own whose memory is the host's, and whose rules are CUDA's.

    with Card() as card:
        runner.main(["train", "-solver", "solver.prototxt", "-gpu", "0"])

    cd tests/conformance && python -m harness.card train -solver solver.prototxt -gpu 0

What lies on it is a `torch.Tensor` of device "card:0"; each operation on it is done by the CPU, so
that results are right. But as on a CUDA device

- an operation whose tensors lie partly on the host is refused, single numbers apart;
- a random generator of the host does not serve the device's tensors;
- what brings values to the host, so that Python waits for the device, is a read, and `reads` has
  them with the place in the code;
- while work is recorded as a graph nothing is executed, no read and no upload is possible, and a
  replay does the recorded operations alone, on the memory of the recording.

`torch.cuda` answers for the card while it is in use. PyTorch lends it the place in its tables that
it keeps for devices of others (PrivateUse1), which can be taken before a process's first backward
only, and from version 2.9 on.
"""

import contextlib
import sys
import threading
import traceback
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

import runner
from runner.process import device as engine_device  # noqa: TID251

ROOT = Path(__file__).resolve().parents[3]
DEVICE = torch.device("cpu")  # until the card is put in
NAME = "A card of paper"
#: operations whose result's shape depends on values, which the host waits for
WAITING = {"nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive"}
#: operations that bring values to the host
READING = {"_local_scalar_dense", "equal", "is_nonzero", "item"}
#: operations on tensors of the card that take indices from the host
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Refused(RuntimeError):
    """What a CUDA device would refuse."""


class OnCard(torch.Tensor):
    """A tensor on the card; `here`, one of the host's, has its values."""

    @staticmethod
    def __new__(cls, here):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )

    def __init__(self, here):
        self.here = here

    def __repr__(self):
        return f"OnCard({tuple(self.shape)}, {self.dtype})"

    def untyped_storage(self):
        return self.here.untyped_storage()

    def data_ptr(self):
        raise Refused("the host may not touch the card's memory")

    def tolist(self):
        return self.cpu().tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return Card.current.dispatch(func, args, kwargs or {})


class Generator(torch.Generator):
    """A random generator; its numbers are the host's. on_card: those of the card, by address."""

    on_card = set()

    def __new__(cls, device="cpu"):
        generator = super().__new__(cls, "cpu")
        if torch.device(device).type == DEVICE.type:
            cls.on_card.add(generator._cdata)  # an operation is given another object of Python's
        return generator


class Graph:
    """A recording: `calls` has each operation with the memory it reads and writes."""

    def __init__(self):
        self.calls, self._before, self._generators = [], {}, []

    def register_generator_state(self, generator):
        self._generators.append(generator)

    def begin(self):
        self._states = [generator.get_state() for generator in self._generators]

    def note(self, func, args, kwargs):
        """Before an operation: keep what it writes over, to have it back."""
        for tensor in _written(func, args, kwargs):
            storage = tensor.untyped_storage()
            self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))

    def end(self):
        """Nothing has been executed: everything is as it was."""
        for storage, before in self._before.values():
            storage.copy_(before)
        self._before.clear()
        for generator, state in zip(self._generators, self._states, strict=True):
            generator.set_state(state)

    def replay(self):
        for func, args, kwargs, results in self.calls:
            again = func(*args, **kwargs)
            for kept, new in zip(_tensors(results), _tensors(again), strict=True):
                if kept is not new and not _same_memory(kept, new):
                    kept.copy_(new)


class Card:
    """The card while it is in use. reads: [(operation, "file:line of the engine's")]."""

    current = None

    def __init__(self):
        self.reads, self.operations = [], set()
        self.recording, self._lock = None, threading.RLock()
        self._stack = contextlib.ExitStack()

    # --- operations ---

    def dispatch(self, func, args, kwargs):
        name = func.overloadpacket.__name__
        given = _tensors((args, kwargs))
        self.operations.add(str(func))
        if name == "copy_":
            return self.copy(func, *args, **kwargs)
        target = kwargs.get("device")
        if name == "_to_copy" and target is not None and target.type == "cpu":
            self._read(name)
            return func(_here(args[0]), **{**kwargs, "device": None})
        for tensor in given:
            if not isinstance(tensor, OnCard) and tensor.dim() and name not in INDEXING:
                raise Refused(
                    f"{func}: all tensors must be on one device, and {tuple(tensor.shape)} is on "
                    f"{tensor.device}"
                )
        generator = kwargs.get("generator")
        if generator is not None and generator._cdata not in Generator.on_card:
            raise Refused(f"{func}: a generator of the host for a tensor of the card")
        masks = name in INDEXING and any(
            x is not None and x.dtype in (torch.bool, torch.uint8) for x in args[1]
        )
        if name in READING or name in WAITING or masks:
            self._read(name)
        if target is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        return self._do(func, args, kwargs)

    def _do(self, func, args, kwargs):
        outer = {id(x.here): x for x in _tensors((args, kwargs)) if isinstance(x, OnCard)}
        args, kwargs = pytree.tree_map(_here, (args, kwargs))
        with self._lock:
            graph = self.recording
            if graph is not None:
                graph.note(func, args, kwargs)
            try:
                results = func(*args, **kwargs)
            except (IndexError, RuntimeError) as error:
                if "out of bounds" in str(error) or "out of range" in str(error):
                    raise RuntimeError("CUDA error: device-side assert triggered") from error
                raise
            for x in outer.values():
                if x.shape != x.here.shape:
                    raise Refused(f"{func}: its result has another shape, which this card lacks")
            if graph is not None:
                graph.calls.append((func, args, kwargs, results))

        def put(result):
            if not isinstance(result, torch.Tensor):
                return result
            known = outer.get(id(result))
            return OnCard(result) if known is None else known

        return pytree.tree_map(put, results)

    def copy(self, func, target, source, *rest, **kwargs):
        if isinstance(target, OnCard) and isinstance(source, OnCard):
            return self._do(func, (target, source, *rest), kwargs)
        if isinstance(target, OnCard):
            if self.recording is not None and source.dim():
                raise Refused("operation not permitted when stream is capturing (an upload)")
            return self._do(func, (target, source, *rest), kwargs)
        self._read("copy_")
        func(target, source.here, *rest, **kwargs)
        return target

    def _read(self, name):
        if self.recording is not None:
            raise Refused(f"operation not permitted when stream is capturing ({name})")
        frames = [
            f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_stack()
            if Path(frame.filename).is_relative_to(ROOT)
            and ".venv" not in frame.filename
            and "tests" not in Path(frame.filename).parts
        ]
        self.reads.append((name, frames[-1] if frames else ""))

    # --- torch.cuda ---

    @contextlib.contextmanager
    def _capture(self, graph, stream=None, capture_error_mode="global"):
        graph.begin()
        self.recording = graph
        try:
            yield
        finally:
            self.recording = None
            graph.end()

    def _cuda(self):
        """What torch.cuda is meanwhile."""
        default, other = SimpleNamespace(name="default"), SimpleNamespace(name="other")
        streams = [default]
        properties = SimpleNamespace(
            name=NAME, major=9, minor=0, total_memory=80 << 30, multi_processor_count=132
        )
        return {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "get_device_name": lambda device=None: NAME,
            "get_device_properties": lambda device=None: properties,
            "mem_get_info": lambda device=None: (8 << 30, 80 << 30),
            "set_device": lambda device: None,
            "device": lambda device: contextlib.nullcontext(),
            "synchronize": lambda device=None: None,
            "default_stream": lambda device=None: default,
            "current_stream": lambda device=None: streams[-1],
            "set_stream": streams.append,
            "Stream": lambda device=None: other,
            "CUDAGraph": Graph,
            "graph": self._capture,
        }

    def __enter__(self):
        put_in()
        Card.current = self
        for name, value in self._cuda().items():
            self._stack.enter_context(mock.patch.object(torch.cuda, name, value))
        self._stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        self._stack.enter_context(mock.patch.object(torch.Tensor, "pin_memory", torch.Tensor.clone))
        self._stack.enter_context(mock.patch.object(engine_device, "KIND", DEVICE.type))
        return self

    def __exit__(self, *error):
        self._stack.close()


def put_in():
    """Take the place that PyTorch has for a device of others; once a process."""
    global DEVICE
    if DEVICE.type != "cpu":
        return
    backend_registration._setup_privateuseone_for_python_backend("card")
    DEVICE = torch.device("card", 0)
    library = torch.library.Library("aten", "IMPL")
    put_in.library = library  # what it registers ends with it

    def empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
        return OnCard(torch.empty(size, dtype=dtype, memory_format=memory_format))

    def empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
        return OnCard(torch.empty_strided(size, stride, dtype=dtype))

    def copy_from(source, target, non_blocking=False):
        Card.current.copy(torch.ops.aten.copy_.default, target, source)
        return target

    def arange(*numbers, dtype=None, layout=None, device=None, pin_memory=None):
        return OnCard(torch.arange(*numbers, dtype=dtype))

    for overload in ("arange", "arange.start", "arange.start_step"):
        library.impl(overload, arange, "PrivateUse1")
    library.impl("_copy_from", copy_from, "PrivateUse1")
    library.impl("empty.memory_format", empty, "PrivateUse1")
    library.impl("empty_strided", empty_strided, "PrivateUse1")


def _here(value):
    return value.here if isinstance(value, OnCard) else value


def _tensors(values):
    return [x for x in pytree.tree_leaves(values) if isinstance(x, torch.Tensor)]


def _written(func, args, kwargs):
    """The tensors that an operation writes to, by its schema."""
    found = []
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            found += _tensors(value)
    return found


def _same_memory(one, other):
    return (
        one.numel() == 0 or one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    )


if __name__ == "__main__":
    from harness.card import Card as TheCard  # what torch calls, not the __main__'s twin of it

    with TheCard():
        sys.exit(runner.main(sys.argv[1:]))
