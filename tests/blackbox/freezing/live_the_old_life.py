"""Made `data/old/`: `OLD/.venv/bin/python freezing/live_the_old_life.py`, with a python that has the old version.

First the old version lives the first part and leaves `watcher.db`; then it lives on from it, twice at two instants, and
what it said is frozen beside it. With the word `expected` only the second is done. Not run by any test.
"""
# ruff: noqa: T201 - a script, kept as it ran

import json
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE)]

from blackbox_old_life import DATABASE, first_part, lived_on, seen  # noqa: E402
from freeze import marked  # noqa: E402


def in_a_folder(live, *more):
    with tempfile.TemporaryDirectory() as folder:
        return live(Path(folder), *more)


if "expected" not in sys.argv:
    in_a_folder(first_part, print)
print("database:", DATABASE.stat().st_size, "bytes")


def a_while():
    """Nobody knows yet what is enough: so long that everything must have come."""
    ends = {}
    return lambda step, _told: time.monotonic() > ends.setdefault(step, time.monotonic() + 5)


frozen = {"seen": marked(in_a_folder(seen), in_a_folder(seen))}
frozen["lived"] = marked(in_a_folder(lived_on, a_while()), in_a_folder(lived_on, a_while(), timedelta(seconds=7)))
for says, step in frozen["lived"].items():
    print(says, step if isinstance(step, list) else (step["code"], step.get("asked")))
    for told in step["told"] if isinstance(step, dict) else []:
        print("   ", told["to"], told["key"], told["body"]["title"])
text = json.dumps(frozen, ensure_ascii=False).replace('{"at": ', '\n{"at": ')
(DATABASE.parent / "expected.json").write_text(text + "\n", encoding="utf-8")
