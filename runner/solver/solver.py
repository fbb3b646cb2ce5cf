"""The training loop (solver.cpp): Caffe's order of test, display, update and snapshot."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch

from netgen import graph, schema
from netgen.errors import CaffeError
from netgen.schema import caffe_pb
from runner.layers import Context
from runner.log import glog, lines, upgrades
from runner.net import weights
from runner.net.debug_info import debug_info
from runner.net.net import Net
from runner.process.recording import recorder
from runner.process.signals import Action
from runner.solver import snapshot
from runner.solver.losses import SmoothedLoss
from runner.solver.lr_policy import Plateau, learning_rate
from runner.solver.passes import NetPass
from runner.solver.tallies import check_evaluation, tally_of
from runner.solver.updates import Updater, check_solver
from runner.solver.workers import Alone, Request, Workers

MOST_TEST_NETS = 1000  # a damaged solver asks for thousands, each with memory of its own
TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


class Solver:
    """Trains a net as its SolverParameter says.

    param: SolverParameter in current format, with snapshot_prefix filled in. device: where to
    compute. request: a function without arguments giving the Action asked for by now. progress:
    called with the iteration after each one, its `testing` a context for tests; or None.
    precision: the number format, one of -precision's, for which set_precision has prepared the
    process. workers: the Workers it trains with; None if it trains alone. recorded: False has a
    GPU's work launched kernel by kernel rather than replayed. Raises CaffeError.
    """

    #: do its snapshots hold what Caffe forgets?
    resumes_exactly = True

    def __init__(
        self,
        param: caffe_pb.SolverParameter,
        device: str | torch.device = "cpu",
        request: Request = lambda: Action.NONE,
        progress: Any = None,
        precision: str = "fp32",
        workers: Workers | None = None,
        recorded: bool = True,
    ) -> None:
        self.param = param
        self.device = torch.device(device)
        self.precision = precision
        self.request = request
        self.workers = workers or Alone()
        self.progress = progress
        glog.info(
            f"Initializing solver from parameters: \n{schema.to_text(param)}", "solver.cpp:45"
        )
        if param.average_loss < 1:
            raise CaffeError("average_loss should be non-negative.")
        if param.iter_size < 1:
            raise CaffeError(f"iter_size should be at least 1, not {param.iter_size}")
        check_solver(param)
        check_evaluation(param)
        if self.workers.root:
            snapshot.check_writable(param)
        self.seed = param.random_seed if param.random_seed >= 0 else self.workers.seed()
        self.random = torch.Generator(self.device).manual_seed(self.seed)
        self.net = self._train_net()
        self.test_nets = self._test_nets() if self.workers.root else []
        glog.info("Solver scaffolding done.", "solver.cpp:57")
        record = recorder(self.device) if recorded else None
        self.updater = Updater(param, self.net.parameters, record)
        self.make_passes(record)
        self.losses = SmoothedLoss(param.average_loss)
        self.iter = self.current_step = 0
        self.plateau = Plateau()
        self.stopped = False
        self._resumed_losses = False
        self._before_test = None
        #: the path of the state that was written last, by the root
        self.latest_snapshot: str | None = None

    def make_passes(self, record: Callable[..., Any] | None) -> None:
        """Make train_pass, and a test pass for each test net; record: as for Replayed."""
        self.train_pass = NetPass(self.net, self.net.forward_backward, record, self.random)
        self.test_passes = [
            NetPass(net, net.forward, record, self.random) for net in self.test_nets
        ]

    # --- nets ---

    def _net(self, param, phase, state):
        """A net whose state is the phase, then the net's own, then the solver's (`state`)."""
        given = caffe_pb.NetState(phase=phase)
        param.state.CopyFrom(graph.merged_state(given, param.state, state))
        fillers = torch.Generator().manual_seed(self.seed)
        net = Net(
            param,
            Context(
                self.device, fillers, self.random, self.seed, self.precision,
                self.workers.rank, self.workers.count,
            ),
        )  # fmt: skip
        for models in self.param.weights:
            for path in models.split(","):
                glog.info(f"Finetuning from {path.strip()}", "solver.cpp:72")
                weights.load_weights(net, path.strip())
        return net

    def _train_net(self):
        given = [name for name in TRAIN_FIELDS if self.param.HasField(name)]
        fields = ", ".join(TRAIN_FIELDS)
        if not given:
            raise CaffeError(
                f"SolverParameter must specify a train net using one of these fields: {fields}"
            )
        if len(given) > 1:
            raise CaffeError(
                "SolverParameter must not contain more than one of these fields specifying a "
                f"train_net: {fields} (it has {', '.join(given)})"
            )
        field = given[0]
        value = getattr(self.param, field)
        if field.endswith("net_param"):
            line = 97 if field == "net_param" else 88
            glog.info(f"Creating training net specified in {field}.", f"solver.cpp:{line}")
            param = caffe_pb.NetParameter()
            param.CopyFrom(value)
        else:
            line = 102 if field == "net" else 92
            glog.info(f"Creating training net from {field} file: {value}", f"solver.cpp:{line}")
            param = upgrades.read_net(value)
        return self._net(param, caffe_pb.TRAIN, self.param.train_state)

    def _test_sources(self):
        """[(what the log calls it, NetParameter)] in Caffe's order."""
        p = self.param
        generic = p.HasField("net") or p.HasField("net_param")
        own = len(p.test_net_param) + len(p.test_net)
        if len(p.test_iter) < own or (not generic and len(p.test_iter) != own):
            raise CaffeError(
                "test_iter must be specified for each test network. "
                f"({len(p.test_iter)} test_iter, {own} test nets)"
            )
        if len(p.test_iter) > MOST_TEST_NETS:
            raise CaffeError(
                f"test_iter is given {len(p.test_iter):,} times, and as many test nets would be "
                f"made; {MOST_TEST_NETS:,} are the most"
            )
        if p.test_state and len(p.test_state) != len(p.test_iter):
            raise CaffeError(
                "test_state must be unspecified or specified once per test net. "
                f"({len(p.test_state)} test_state, {len(p.test_iter)} test nets)"
            )
        if p.test_iter and p.test_interval <= 0:
            raise CaffeError(f"Check failed: param_.test_interval() > 0 ({p.test_interval} vs. 0)")
        sources = [("test_net_param", param) for param in p.test_net_param]
        sources += [(f"test_net file: {path}", upgrades.read_net(path)) for path in p.test_net]
        for _ in range(len(p.test_iter) - own):
            if p.HasField("net_param"):
                sources.append(("net_param", p.net_param))
            else:
                sources.append((f"net file: {p.net}", upgrades.read_net(p.net)))
        return sources

    def _test_nets(self):
        nets = []
        for i, (source, given) in enumerate(self._test_sources()):
            glog.info(f"Creating test net (#{i}) specified by {source}", "solver.cpp:190")
            param = caffe_pb.NetParameter()
            param.CopyFrom(given)
            state = self.param.test_state[i] if self.param.test_state else caffe_pb.NetState()
            nets.append(self._net(param, caffe_pb.TEST, state))
        return nets

    # --- training ---

    def solve(self) -> None:
        """Train to max_iter, then the last snapshot, display and test."""
        p = self.param
        glog.info(lines.solving(self.net.name), "solver.cpp:289")
        glog.info(f"Learning Rate Policy: {p.lr_policy}", "solver.cpp:290")
        self.stopped = False
        self.step(p.max_iter - self.iter)
        if p.snapshot_after_train and (not p.snapshot or self.iter % p.snapshot):
            self.snapshot()
        if self.stopped:
            glog.info(lines.STOPPED, "solver.cpp:311")
            return
        if p.display and self.iter % p.display == 0:
            # Caffe switches debug_info with each iteration's display, and not once more here.
            with torch.no_grad(), debug_info(self.net, p.debug_info and p.display == 1):
                loss, _ = self._final_forward()
            self.losses.add(loss)
            glog.info(lines.final_loss(self.iter, self.losses.value()), "solver.cpp:327")
        if p.test_interval and self.iter % p.test_interval == 0:
            self.test_all()
        glog.info(lines.DONE, "solver.cpp:332")

    def step(self, iterations: int) -> None:
        """Run `iterations` iterations, or fewer if a signal stops them."""
        p = self.param
        stop = self.iter + iterations
        if not self._resumed_losses:
            self.losses.clear()
        self._resumed_losses = False
        self._clock, self._shown_iter = time.perf_counter(), self.iter
        while self.iter < stop:
            self.workers.begin(self)
            self._clear_gradients()
            if (
                p.test_interval
                and self.iter % p.test_interval == 0
                and (self.iter > 0 or p.test_initialization)
            ):
                self.test_all()
                if self.stopped:
                    break
            display = self.workers.root and p.display and self.iter % p.display == 0
            outputs = self._accumulate(p.debug_info and display)
            if display:
                self._display(outputs)
            self._gradients_ready()
            self.apply_update()
            if self.progress is not None:
                self.progress(self.iter)
            request = self.workers.agreed(self.request)
            due = p.snapshot and self.iter % p.snapshot == 0
            if due or request is Action.SNAPSHOT:
                self.snapshot()
            if request is Action.STOP:
                self.stopped = True
                break

    def _final_forward(self):
        return self.net.forward()

    def _gradients_ready(self):
        self.workers.reduce(self.net.parameters.grad, self.request)

    def _clear_gradients(self):
        self.net.parameters.grad.zero_()

    def _accumulate(self, debug):
        """iter_size forward and backward passes; returns the last one's outputs."""
        total = 0
        for _ in range(self.param.iter_size):
            loss, outputs = self.train_pass.debug() if debug else self.train_pass(*self.net.fetch())
            total = total + loss
        self.losses.add(total / self.param.iter_size)
        return outputs

    def _display(self, outputs):
        loss = self.losses.value()  # waits for the device
        lapse = time.perf_counter() - self._clock
        rate = (self.iter - self._shown_iter) / lapse if lapse else 0.0
        shown = lines.display(self.iter, rate, lapse, self.param.display, loss)
        glog.info(shown, "solver.cpp:239")
        self._clock, self._shown_iter = time.perf_counter(), self.iter
        self._print_outputs("Train", self.net, outputs, "solver.cpp:258")

    @staticmethod
    def _print_outputs(kind, net, outputs, where):
        position = 0
        for name, values in outputs.items():
            weight = net.loss_weights[name]
            for value in values.reshape(-1).tolist():
                glog.info(lines.output(kind, position, name, value, weight), where)
                position += 1

    def apply_update(self) -> None:
        """One update from the gradients that are there; counts the iteration."""
        p = self.param
        if p.lr_policy == "plateau":
            before, loss = self.current_step, self.losses.value()
            lowered = self.plateau.step(p, self.iter, before, loss) > before
            self.current_step = before + self.workers.from_root(lowered)
        rate, self.current_step = learning_rate(p, self.iter, self.current_step)
        if p.display and self.iter % p.display == 0:
            glog.info(lines.learning_rate(self.iter, rate), "sgd_solver.cpp:112")
        norm = self.updater.clip()
        if norm is not None and norm.item() > p.clip_gradients:
            scale = glog.number(p.clip_gradients / norm.item())
            glog.info(
                f"Gradient clipping: scaling down gradients (L2 norm {glog.number(norm)} > "
                f"{glog.number(p.clip_gradients)}) by scale factor {scale}",
                "sgd_solver.cpp:99",
            )
        self.updater.apply(rate, self.iter)
        self.iter += 1

    # --- testing ---

    def test_all(self) -> None:
        """Test every test net; a stop in between leaves their data where it was."""
        self._before_test = self.test_state()
        with self.progress.testing() if self.progress else contextlib.nullcontext():
            for i in range(len(self.test_nets)):
                if self.stopped:
                    break
                self.test(i)
        self.stopped = self.workers.from_root(self.stopped)
        if self.stopped:
            self.load_test_state(self._before_test)
        self._before_test = None

    def test_state(self) -> dict[str, Any]:
        """Where the random numbers and the test nets' data stand; in a test, stood before it."""
        if self._before_test is not None:
            return self._before_test
        tests = [net.state() for net in self.test_nets]
        return {"random": self.random.get_state(), "test": tests}

    def load_test_state(self, state: dict[str, Any]) -> None:
        """Take back what `test_state` gave; its "test" may be None: the test nets start afresh."""
        self.random.set_state(state["random"])
        for net, data in zip(self.test_nets, state["test"] or [], strict=False):
            net.load_state(data)

    @torch.no_grad()
    def test(self, number: int) -> None:
        """What test net `number` comes to over its test_iter batches, logged.

        The mean of each output, or with eval_type "detection" the mean average precision.
        """
        glog.info(lines.testing(self.iter, number), "solver.cpp:347")
        net, run = self.test_nets[number], self.test_passes[number]
        batches = self.param.test_iter[number]
        net.share_weights_from(self.net)
        tally, loss = tally_of(self.param, net, self._print_outputs), 0
        for _ in range(batches):
            while (request := self.request()) is not Action.NONE:
                if request is Action.SNAPSHOT:
                    self.snapshot()
                else:
                    self.stopped = True
            if self.stopped:
                glog.info("Test interrupted.", "solver.cpp:396")
                return
            batch_loss, outputs = run.debug() if self.param.debug_info else run(*net.fetch())
            loss = loss + batch_loss
            tally.add(outputs)
        if self.param.test_compute_loss and batches:
            glog.info(f"Test loss: {glog.number(loss / batches)}", "solver.cpp:401")
        tally.tell(batches)

    # --- snapshots ---

    def snapshot(self) -> str | None:
        """Write caffemodel, solverstate and what resuming needs; returns the state's path.

        The root does; of other workers nothing is needed.
        """
        self.latest_snapshot = snapshot.write(self) if self.workers.root else None
        return self.latest_snapshot

    def restore(self, path: str) -> None:
        """Go on from a solver state."""
        self.losses.clear()
        snapshot.restore(self, path)
        self._resumed_losses = True
