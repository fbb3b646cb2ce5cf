"""The frozen sample: what stock BVLC Caffe 1.0 made of every case, in frozen/*.npz.

One file a family, two entries a case: "<case>" the numbers, "<case>.text" a JSON of where
they belong and of the log. A blob of more than KEPT values is represented by KEPT of them,
evenly spaced, which keeps the whole sample far below two megabytes.
"""

import json
from pathlib import Path

import numpy as np

from harness.judge import compare
from harness.outcome import Outcome

HERE = Path(__file__).parent.parent / "frozen"
KEPT = 48


def thin(outcome):
    """The outcome with at most KEPT values of every blob, and {key: its whole shape}."""
    shapes = {key: list(array.shape) for key, array in outcome.blobs.items()}
    blobs = {}
    for key, array in outcome.blobs.items():
        flat = np.ravel(array)
        places = np.linspace(0, flat.size - 1, min(flat.size, KEPT)).astype(int)
        blobs[key] = flat[places]
    return Outcome(outcome.status, blobs, outcome.log), shapes


def write_family(family, outcomes):
    """Write frozen/<family>.npz. outcomes: {case name: Outcome}; an empty log is not compared."""
    entries = {}
    for name, outcome in outcomes.items():
        thinned, shapes = thin(outcome)
        blobs = sorted(thinned.blobs)
        text = {
            "status": outcome.status,
            "shapes": {key: shapes[key] for key in blobs},
            "log": outcome.log,
        }
        values = [thinned.blobs[key] for key in blobs]
        entries[name] = np.concatenate(values or [[]]).astype(np.float32)
        entries[f"{name}.text"] = np.frombuffer(json.dumps(text).encode(), np.uint8)
    path = HERE / f"{family}.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **entries)


def read_family(family):
    """{case name: (thinned Outcome, shapes)} of frozen/<family>.npz; {} if there is none."""
    path = HERE / f"{family}.npz"
    if not path.exists():
        return {}
    found = {}
    with np.load(path) as entries:
        for name in entries.files:
            if name.endswith(".text"):
                continue
            text = json.loads(entries[f"{name}.text"].tobytes())
            sizes = [min(int(np.prod(shape)), KEPT) for shape in text["shapes"].values()]
            parts = np.split(entries[name], np.cumsum(sizes)[:-1]) if sizes else []
            blobs = dict(zip(text["shapes"], parts, strict=True))
            found[name] = Outcome(text["status"], blobs, text["log"]), text["shapes"]
    return found


def compare_frozen(got, kept, differs="", moved=None):
    """The Verdict on a whole outcome against an entry of read_family; the rest as in compare."""
    want, shapes = kept
    thinned, own = thin(got)
    verdict = compare(thinned, want, log=bool(want.log), differs=differs, moved=moved)
    for key in shapes.keys() & own.keys():
        if shapes[key] != own[key]:
            verdict.complaints.append(f"{key} has shape {own[key]}, expected {shapes[key]}")
    return verdict
