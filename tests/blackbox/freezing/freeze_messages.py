"""Made `data/messages.json`, run by a Python that has the old version: what its channels were sent. No test runs it."""
# ruff: noqa: T201 - a script, kept as it ran

import json
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE)]

from blackbox_messages import run_steps  # noqa: E402
from freeze import marked  # noqa: E402

runs = []
for later in (0, 7):
    with tempfile.TemporaryDirectory() as folder:
        runs.append(run_steps(Path(folder), timedelta(seconds=later)))
found = marked(*runs)
for says, messages in found.items():
    print(
        says,
        [(each["channel"], each.get("signed"), str(each.get("body", each.get("stdin")))[:160]) for each in messages],
    )
(HERE / "data" / "messages.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
