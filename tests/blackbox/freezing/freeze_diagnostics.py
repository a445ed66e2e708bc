"""Made `data/diagnostics.json`, run by a Python that has the old version: `python freezing/freeze_diagnostics.py`.

The rule files are those of the old version's tests; the configs were written for this folder. Not run by any test.
"""
# ruff: noqa: T201 - a script, kept as it ran

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE)]

from blackbox_diagnostics import check_config_file, check_rule_file  # noqa: E402
from blackbox_world import DATA, Home  # noqa: E402

found = {}
for path in sorted([*(DATA / "rules").glob("*/*.toml"), *(DATA / "configs").glob("*.toml")]):
    with tempfile.TemporaryDirectory() as folder:
        home, content = Home(Path(folder)), path.read_bytes()
        outcome = (
            check_config_file(home, content)
            if path.parent.name == "configs"
            else check_rule_file(home, path.name, content)
        )
    found[path.relative_to(DATA).as_posix()] = outcome
    print(path.name, outcome["code"], len(outcome["mistakes"]), [each["meant"] for each in outcome["mistakes"]])
rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(each, ensure_ascii=False)}" for name, each in found.items())
(DATA / "diagnostics.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")
