"""What was tried and what came of it: kept after every trial, and written as a page."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attack import commands
from attack.trial import Part, Trial

from netgen import schema

_PACKAGES = ("torch", "numpy", "protobuf", "lmdb", "h5py", "matplotlib", "pillow")


class Report:
    """report.json in a folder: a record for each part and seed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "report.json"
        self._records: dict[str, Any] = {}
        self._others: list[Report] = []
        if self._path.exists():
            self._records = schema.read_json(self._path)

    def _record(self, part: Part, seed: int) -> dict[str, Any]:
        empty = {"trials": 0, "seconds": 0.0, "kinds": {}, "complaints": [], "notes": {}}
        return self._records.setdefault(f"{part.name} {seed}", empty)

    def trials(self, part: Part, seed: int) -> int:
        """How many trials of a part were made with this seed."""
        return self._record(part, seed)["trials"]

    def attacks(self, part: Part, seed: int) -> int:
        """How many attacks those were: a command that had ended before its kill was not killed."""
        return sum(self._record(part, seed)["kinds"].values())

    def include(self, other: Report) -> None:
        """Show on the page what was done elsewhere, with other seeds."""
        self._others.append(other)

    def add(self, part: Part, seed: int, trial: Trial, seconds: float) -> None:
        """Keep the outcome of the next trial."""
        record = self._record(part, seed)
        number = record["trials"]
        record["trials"] = number + 1
        record["seconds"] += seconds
        record["date"] = time.strftime("%Y-%m-%d")
        record["code"] = _code()
        kinds = record["kinds"]
        kinds[trial.kind] = kinds.get(trial.kind, 0) + trial.attacks
        record["complaints"] += [[number, complaint] for complaint in trial.complaints]
        for name, value in trial.notes.items():
            before = record["notes"].get(name, 0.0)
            record["notes"][name] = before + value if name == "careless" else max(before, value)
        schema.write_json(self._records, self._path)

    def skip(self, part: Part, why: str) -> None:
        """Keep why a part was not tried."""
        self._records[f"{part.name} skipped"] = why
        schema.write_json(self._records, self._path)

    def _of(self, part: Part) -> list[tuple[str, dict[str, Any]]]:
        found = [(key.split(), record) for key, record in self._records.items()]
        elsewhere = [item for other in self._others for item in other._of(part)]
        return elsewhere + [
            (words[1], record)
            for words, record in found
            if words[0] == part.name and words[1] != "skipped" and record["trials"]
        ]

    def summary(self, part: Part) -> str:
        """One line of all that was done of a part."""
        records = [record for _, record in self._of(part)]
        attacks = sum(sum(record["kinds"].values()) for record in records)
        wrong = sum(len(record["complaints"]) for record in records)
        return f"{part.name}: {attacks:,} attacks, {wrong} complaints"

    def write_page(self, path: Path, parts: list[Part]) -> None:
        """Write the page of everything in the report; what a person wrote at its end stays."""
        kept = path.read_text().partition(BY_HAND)[2] if path.exists() else "\n"
        schema.write_bytes((self.page(parts) + BY_HAND + kept).encode(), path)

    def page(self, parts: list[Part]) -> str:
        """Markdown: a table of the parts, then of each its kinds and its complaints."""
        lines = [HEAD, "| attack | attacks | complaints | seeds | minutes | date, code |"]
        lines.append("|---|---|---|---|---|---|")
        for part in parts:
            records = self._of(part)
            if not records:
                why = self._records.get(f"{part.name} skipped", "not run")
                lines.append(f"| {part.title} | 0 | | | | {why} |")
                continue
            attacks = sum(sum(record["kinds"].values()) for _, record in records)
            wrong = sum(len(record["complaints"]) for _, record in records)
            minutes = sum(record["seconds"] for _, record in records) / 60
            seeds = ", ".join(seed for seed, _ in records)
            codes = ", ".join(sorted({f"{r['date']} {r['code']}" for _, r in records}))
            cells = (part.title, f"{attacks:,}", wrong, seeds, f"{minutes:.0f}", codes)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        for part in parts:
            lines += self._section(part)
        return "\n".join([*lines, "", f"Measured on: {machine()}.", ""])

    def _section(self, part: Part) -> list[str]:
        records = self._of(part)
        if not records:
            return []
        kinds: Counter[str] = Counter()
        for _, record in records:
            kinds.update(record["kinds"])
        lines = ["", f"## {part.name}", ""]
        for seed, record in records:
            count = record["trials"]
            if part.counts_attacks:
                count = sum(record["kinds"].values())
            lines.append(
                f"    python tests/torture/run.py --only {part.name} --{part.name} {count}"
                f" --seed {seed} --minutes 600"
            )
        counts = "; ".join(f"{kind} {count:,}" for kind, count in sorted(kinds.items()))
        lines += ["", f"{counts}."]
        careless = sum(record["notes"].get("careless", 0) for _, record in records)
        if careless:
            cuts = sum(record["trials"] for _, record in records)
            lines += [
                "",
                f"A file written without fsync beside them was lost in {careless:.0f} of {cuts} cuts.",
            ]
        if peak := max(record["notes"].get("peak", 0) for _, record in records):
            lines += ["", f"The most memory that any of them took: {peak:.0f} MB."]
        grown = {name: value for _, r in records for name, value in r["notes"].items()}
        for name, value in sorted(grown.items()):
            if name.startswith("growth, "):
                lines.append(f"\nGrowth from the first third to the last: {value:.1f} {name[8:]}.")
        said = [(seed, *item) for seed, record in records for item in record["complaints"]]
        if said:
            lines += ["", "Complaints:", ""]
            lines += [f"- seed {s}, trial {n}: `{_short(text)}`" for s, n, text in said[:30]]
            if len(said) > 30:
                lines.append(f"- and {len(said) - 30} more")
        return lines


HEAD = """\
# Reliability

What an attack on the commands has found, written by `make torture PAGE=docs/RELIABILITY.md`. What
each attack does and asks is told in tests/torture/README.md. A complaint is an answer that is not
what was asked: a broken file, another result than the undisturbed run's, something left over, a
traceback, a crash, a hang.
"""

#: What follows it on the page is written by people, and kept.
BY_HAND = "\n<!-- what follows is written by hand, and stays when the page is written again -->\n"


def _short(text: str) -> str:
    """A complaint without this machine's paths."""
    said = text.replace(str(commands.ROOT) + "/", "").replace("`", "'")
    return " ".join(said.split())[:240]


def _code() -> str:
    words = ("git", "-C", str(commands.ROOT), "rev-parse", "--short", "HEAD")
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """The hardware and versions in a line."""
    cpu = "unknown CPU"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{cpu}, {os.cpu_count()} cores; Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, {packages}"
    )
