"""Made `data/old/`: `OLD/.venv/bin/python freezing/freeze_database.py`, with a python that has the old version.

First the old version runs the first part, which gives `watcher.db`; then it runs on from it, at two instants, and the
result is frozen beside it. With the word `expected` only the second is done. Not run by any test.
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

from blackbox_old_database import DATABASE, continue_from_database, create_database, read_database  # noqa: E402
from freeze import marked  # noqa: E402


def run_in_folder(function, *more):
    with tempfile.TemporaryDirectory() as folder:
        return function(Path(folder), *more)


if "expected" not in sys.argv:
    run_in_folder(create_database, print)
print("database:", DATABASE.stat().st_size, "bytes")


def make_enough():
    """Wait so long that everything must have come: how many messages are enough is not known yet."""
    ends = {}
    return lambda step, _told: time.monotonic() > ends.setdefault(step, time.monotonic() + 5)


frozen = {"seen": marked(run_in_folder(read_database), run_in_folder(read_database))}
frozen["lived"] = marked(
    run_in_folder(continue_from_database, make_enough()),
    run_in_folder(continue_from_database, make_enough(), timedelta(seconds=7)),
)
for says, step in frozen["lived"].items():
    print(says, step if isinstance(step, list) else (step["code"], step.get("asked")))
    for message in step["told"] if isinstance(step, dict) else []:
        print("   ", message["to"], message["key"], message["body"]["title"])
text = json.dumps(frozen, ensure_ascii=False).replace('{"at": ', '\n{"at": ')
(DATABASE.parent / "expected.json").write_text(text + "\n", encoding="utf-8")
