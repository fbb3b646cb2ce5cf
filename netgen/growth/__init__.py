"""Growth: how straight kernels travel (TPM), what to split (plan), split, weight transfer."""

from importlib import import_module

from netgen.growth.errors import PlanError, SplitError, TpmError, TransferError
from netgen.growth.kinds import KINDS
from netgen.growth.plan import LayerPlan, Plan, read_plan, to_json

# Imported when first asked for: building a net takes plans, but neither NumPy nor weights.
_LATER = {
    "FACTOR": "choose",
    "make_plan": "choose",
    "select": "choose",
    "measure": "tpm",
    "LayerMeasurement": "measurement",
    "Measurement": "measurement",
    "read_tpm": "measurement",
    "table": "measurement",
    "Split": "split",
    "split_net": "split",
    "Init": "start",
    "transfer_weights": "transfer",
    "grow_history": "history",
}

__all__ = [
    "FACTOR",
    "Init",
    "KINDS",
    "LayerMeasurement",
    "LayerPlan",
    "Measurement",
    "Plan",
    "PlanError",
    "Split",
    "SplitError",
    "TpmError",
    "TransferError",
    "grow_history",
    "make_plan",
    "measure",
    "read_plan",
    "read_tpm",
    "select",
    "split_net",
    "table",
    "to_json",
    "transfer_weights",
]


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(f"netgen.growth.{_LATER[name]}"), name)
    raise AttributeError(f"module 'netgen.growth' has no attribute '{name}'")
