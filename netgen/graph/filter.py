"""Which layers a net state keeps (net.cpp: FilterNet, StateMeetsRule)."""

from netgen.graph.errors import NetError


def filter_net(net, state, log=None):
    """A new NetParameter with the layers whose include/exclude rules match `state`.

    net: NetParameter. state: NetState (phase, level, stage). Without include rules a layer stays
    unless one exclude rule matches; with them it stays if one of them matches. Everything else
    of the net is copied. log(message, where): takes Caffe's line of why a rule did not match.
    Raises NetError when a layer has both kinds of rule.
    """
    kept = type(net)()
    kept.CopyFrom(net)
    del kept.layer[:]
    kept.layer.extend(layer for layer in net.layer if _included(layer, state, log))
    return kept


def _included(layer, state, log):
    if layer.include and layer.exclude:
        raise NetError(
            f"layer '{layer.name}': Specify either include rules or exclude rules; not both."
        )
    rules = layer.include or layer.exclude
    matched = False
    for rule in rules:
        reason, line = _mismatch(state, rule)
        if reason is None:
            matched = True
            break
        if log:
            log(f"{reason} specified by a rule in layer {layer.name}", f"net.cpp:{line}")
    return matched if layer.include else not matched


def _mismatch(state, rule):
    """Why the state does not meet the rule, in Caffe's words, and its line there; or Nones."""
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
    return None, None
