"""Growth: how straight kernels travel (TPM), what to split (plan), split, weight transfer."""

from importlib import import_module

from netgen.growth.plan import KINDS, LayerPlan, Plan, PlanError, read_plan, to_json

# Imported when first asked for: building a net takes plans, but neither NumPy nor weights.
_LATER = {
    "FACTOR": "choose",
    "make_plan": "choose",
    "mean_entropy": "choose",
    "select": "choose",
    "measure": "tpm",
    "table": "tpm",
    "TpmError": "tpm_file",
    "read_tpm": "tpm_file",
    "SplitError": "split",
    "split_net": "split",
    "Init": "transfer",
    "TransferError": "transfer",
    "transfer_weights": "transfer",
    "grow_history": "history",
}

__all__ = [
    "FACTOR",
    "Init",
    "KINDS",
    "LayerPlan",
    "Plan",
    "PlanError",
    "SplitError",
    "TpmError",
    "TransferError",
    "grow_history",
    "make_plan",
    "mean_entropy",
    "measure",
    "read_plan",
    "read_tpm",
    "select",
    "split_net",
    "table",
    "to_json",
    "transfer_weights",
]


def __getattr__(name):
    if name in _LATER:
        return getattr(import_module(f"netgen.growth.{_LATER[name]}"), name)
    raise AttributeError(f"module 'netgen.growth' has no attribute '{name}'")
