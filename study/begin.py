"""How a study begins or goes on: what was asked for, beside what its folder says."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from typing import Any

from netgen.errors import CaffeError
from netgen.schema import write_json
from study.settings import (
    ALLCNN,
    FILE,
    OPEN,
    SCALES,
    Settings,
    goes_on,
    of_another_net,
    read_settings,
)


def settle(out: str, given: dict[str, Any]) -> Settings:
    """The Settings of the study in folder `out`, which is begun or goes on.

    given: the fields that were asked for. A begun study keeps what it was begun with, but for
    its rounds, arms, seeds and note. Writes study.json. Raises CaffeError.
    """
    path = os.path.join(out, FILE)
    begun = os.path.exists(path)
    if begun:
        base = read_settings(out)
        for name, value in given.items():
            old = getattr(base, name)
            if name not in OPEN and value != old:
                raise CaffeError(
                    f"{path}: this study was begun with {name} {old}, not {value}; "
                    "choose another --out"
                )
    else:
        scale = given.get("scale")
        if scale not in SCALES:
            raise CaffeError(f"{path} is not there, so --scale must be one of {', '.join(SCALES)}")
        base = SCALES[scale]
        if given.get("net", ALLCNN) != ALLCNN:
            base = of_another_net(base, given)
        if given.get("split_at"):
            base = replace(base, arms=tuple(filter(goes_on, base.arms)), rounds=1)
    settings = replace(base, **given)
    if not begun or "arms" in given:
        from study import subject  # only now, as listing stages takes no nets

        settings = settings if begun else subject.completed(settings)
        settings = subject.with_possible_arms(settings)
    if not begun or settings != base:
        os.makedirs(out, exist_ok=True)
        write_json(asdict(settings), path)
    return settings
