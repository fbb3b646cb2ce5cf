"""Which layers a net state keeps (net.cpp: FilterNet, StateMeetsRule)."""

from collections.abc import Callable, Iterable

from netgen.graph.errors import NetError
from netgen.schema import caffe_pb

Log = Callable[[str, str], object]


def in_phase(
    net: caffe_pb.NetParameter,
    phase: int,
    level: int | None = None,
    stages: Iterable[str] = (),
    log: Log | None = None,
) -> caffe_pb.NetParameter:
    """The net as it is in a phase: a new NetParameter with the layers that are part of it then.

    phase: caffe_pb.TRAIN or TEST. level: None keeps the one of the net's own `state`. stages:
    those that are set beside the net's own. The `state` of the result is the one that was asked
    for. log and errors: as in filter_net.
    """
    state = merged_state(net.state, caffe_pb.NetState(phase=phase, level=level, stage=stages))
    kept = filter_net(net, state, log)
    kept.state.CopyFrom(state)
    return kept


def merged_state(*states: caffe_pb.NetState) -> caffe_pb.NetState:
    """One NetState of several: the last phase and the last level that are set, and all stages."""
    merged = caffe_pb.NetState()
    for state in states:
        merged.MergeFrom(state)
    return merged


def filter_net(
    net: caffe_pb.NetParameter, state: caffe_pb.NetState, log: Log | None = None
) -> caffe_pb.NetParameter:
    """A new NetParameter with the layers whose include/exclude rules match `state`.

    net: NetParameter. state: NetState (phase, level, stage). Without include rules a layer stays
    unless one exclude rule matches; with them it stays if one of them matches. Everything else
    of the net is copied. log(message, where) is called with Caffe's line on every rule that did
    not match, and the place in Caffe's sources that prints it.
    Raises NetError when a layer has both kinds of rule.
    """
    kept = type(net)()
    kept.CopyFrom(net)
    del kept.layer[:]
    kept.layer.extend(layer for layer in net.layer if _included(layer, state, log))
    return kept


def _included(layer: caffe_pb.LayerParameter, state: caffe_pb.NetState, log: Log | None) -> bool:
    if layer.include and layer.exclude:
        raise NetError(
            f"layer '{layer.name}': Specify either include rules or exclude rules; not both."
        )
    rules = layer.include or layer.exclude
    matched = False
    for rule in rules:
        mismatch = _mismatch(state, rule)
        if mismatch is None:
            matched = True
            break
        if log:
            reason, line = mismatch
            log(f"{reason} specified by a rule in layer {layer.name}", f"net.cpp:{line}")
    return matched if layer.include else not matched


def _mismatch(state: caffe_pb.NetState, rule: caffe_pb.NetStateRule) -> tuple[str, int] | None:
    """Why the state does not meet the rule, in Caffe's words, and the line of net.cpp."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return f"The NetState phase ({state.phase}) differed from the phase ({rule.phase})", 296
    if rule.HasField("min_level") and state.level < rule.min_level:
        # Caffe says "above" here too; logs are compared with its own.
        return f"The NetState level ({state.level}) is above the min_level ({rule.min_level})", 306
    if rule.HasField("max_level") and state.level > rule.max_level:
        return f"The NetState level ({state.level}) is above the max_level ({rule.max_level})", 316
    for stage in rule.stage:
        if stage not in state.stage:
            return f"The NetState did not contain stage '{stage}'", 332
    for stage in rule.not_stage:
        if stage in state.stage:
            return f"The NetState contained a not_stage '{stage}'", 347
    return None
