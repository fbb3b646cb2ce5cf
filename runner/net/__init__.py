"""Nets: built from a NetParameter, run as a loop over their layers, with weights in and out."""

from runner.net.net import Net, net_param_for
from runner.net.weights import load_weights, net_to_proto

__all__ = ["Net", "load_weights", "net_param_for", "net_to_proto"]
