"""Cases for `watcher replay`: rules and readings that share a process with others, and the transitions of each."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """Rules, readings in time order, and the transitions that they give."""

    name: str  # begins the name of each of its rules
    says: str
    batch: str  # cases of one batch are replayed by one process: none has an account of another
    rules: list[dict[str, Any]]
    readings: list[dict[str, Any]]
    expected: list[dict[str, Any]]

    def to_json(self) -> str:
        """The text of its file: a line for each rule, reading and transition."""
        parts = []
        for key, value in asdict(self).items():
            if isinstance(value, list):
                rows = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in value)
                parts.append(f'"{key}": [\n  {rows}\n]' if rows else f'"{key}": []')
            else:
                parts.append(f'"{key}": {json.dumps(value, ensure_ascii=False)}')
        return "{\n" + ",\n".join(parts) + "\n}\n"


def format_toml(rules: Sequence[dict[str, Any]]) -> str:
    """A rule file; JSON's texts and lists of texts are TOML's too."""
    lines = []
    for rule in rules:
        lines.append("[[rule]]")
        for key, value in rule.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{name} = {json.dumps(each)}" for name, each in value.items())
                lines.append(f"{key} = {{ {inner} }}")
            else:
                lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def replay_batch(
    batch: Sequence[Case], folder: Path, python: str, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """One process that replays all of them."""
    rules, readings = folder / "rules.toml", folder / "readings.jsonl"
    rules.write_text(format_toml([rule for case in batch for rule in case.rules]), encoding="utf-8")
    rows = sorted((row for case in batch for row in case.readings), key=lambda row: datetime.fromisoformat(row["at"]))
    readings.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return subprocess.run(
        [python, "-m", "watcher", "replay", str(rules), str(readings), "--json"],
        env={
            "HOME": str(folder),
            "PATH": os.environ.get("PATH", os.defpath),
            "TZ": "UTC",
            "WATCHER_CONFIG_DIR": str(folder / "config"),
            "WATCHER_STATE_DIR": str(folder / "state"),
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def select_transitions(case: Case, stdout: str) -> list[dict[str, Any]]:
    """The transitions of one case's rules among those of its batch, in the order in which they were printed."""
    found = [json.loads(line) for line in stdout.splitlines()]
    return [each for each in found if each["rule"].startswith(f"{case.name}-")]
