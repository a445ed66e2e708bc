"""What `contrib/prometheus` ships: made from the shipped rules, and accepted by the programs that read it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from tests.prometheus.tools import needs
from watcher.core.rules.loader import parse_rules
from watcher.prometheus.compiler import CompileOptions, compile_rules, format_rule_file
from watcher.prometheus.metrics import FAMILIES

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib" / "prometheus"


def check(*command):
    done = subprocess.run([shutil.which(command[0]) or "", *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr


def test_the_shipped_alerts_are_compiled_from_the_default_rules():
    """To renew them: watcher rules compile --to prometheus --out contrib/prometheus/alerts.yml rules/default.toml."""
    text = (ROOT / "rules" / "default.toml").read_text("utf-8")
    compiled, _ = compile_rules(parse_rules(text, "rules/default.toml"), CompileOptions(), lambda _path: text)
    assert (CONTRIB / "alerts.yml").read_text("utf-8") == format_rule_file(compiled, CompileOptions())


@needs("promtool")
def test_promtool_accepts_the_rules_and_the_scrape_config():
    check("promtool", "check", "rules", str(CONTRIB / "alerts.yml"), str(CONTRIB / "watchers.yml"))
    check("promtool", "check", "config", str(CONTRIB / "scrape.yml"))


@needs("amtool")
def test_amtool_accepts_the_routes():
    check("amtool", "check-config", str(CONTRIB / "alertmanager.yml"))


def list_queries():
    panels = json.loads((CONTRIB / "dashboard.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@needs("promtool")
def test_every_query_of_the_dashboard_is_valid(tmp_path):
    queries = [re.sub(r"\$\w+", ".*", query) for query in list_queries()]
    rules = [{"record": f"q:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check("promtool", "check", "rules", str(path))
    assert len(queries) >= 14


def test_every_metric_of_the_dashboard_and_the_alerts_is_exported():
    texts = [
        *list_queries(),
        (CONTRIB / "watchers.yml").read_text("utf-8"),
        (CONTRIB / "alerts.yml").read_text("utf-8"),
    ]
    used = {name for text in texts for name in re.findall(r"\bai_usage_\w+", text)}
    assert len(used) > 10
    assert used - FAMILIES.keys() == set()
