"""What `contrib/prometheus` ships: made from the shipped rules, and accepted by the programs that read it."""

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.prometheus.tools import ask, needs, pushing_world, running_prometheus
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
    check("promtool", "check", "config", str(CONTRIB / "remote-write.yml"))


@needs("amtool")
def test_amtool_accepts_the_routes():
    check("amtool", "check-config", str(CONTRIB / "alertmanager.yml"))


def list_queries():
    panels = json.loads((ROOT / "contrib" / "grafana" / "ai-usage.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_dashboard_has_what_a_team_asks_for():
    document = json.loads((ROOT / "contrib" / "grafana" / "ai-usage.json").read_text("utf-8"))
    assert {each["name"] for each in document["templating"]["list"]} >= {"datasource", "team", "provider"}
    assert document["schemaVersion"] >= 38  # Grafana 10
    places = [each["gridPos"] for each in document["panels"]]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert len(document["panels"]) >= 14


def test_every_metric_of_the_dashboard_and_the_alerts_is_exported():
    texts = list_queries() + [(CONTRIB / name).read_text("utf-8") for name in ("watchers.yml", "alerts.yml")]
    used = {name for text in texts for name in re.findall(r"\bai_usage_\w+", text)}
    assert len(used) > 10
    assert used - FAMILIES.keys() == set()


@needs("prometheus")
@pytest.mark.slow  # a real Prometheus starts
def test_every_query_runs_on_a_real_prometheus_that_a_real_watcher_fills(tmp_path):
    """Grafana's variables as it fills them in with "All"."""
    queries = [re.sub(r"\$\w+", ".*", query) for query in list_queries()]
    rules = yaml_expressions(CONTRIB / "watchers.yml") + yaml_expressions(CONTRIB / "alerts.yml")
    with running_prometheus(tmp_path) as address, pushing_world(tmp_path, address, percent=97) as world:
        world.watch(6 * timedelta(minutes=1))
        at = world.machine.now() - timedelta(minutes=1)
        answered = {query: ask(address, query, at) for query in [*queries, *rules]}
    assert len(answered) > 30
    fullest = next(query for query in queries if query.startswith("topk"))
    assert float(answered[fullest][0]["value"][1]) == 0.97


def yaml_expressions(path):
    """Each expression of a rule file, plain or as a block."""
    text = path.read_text("utf-8")
    blocks = [re.sub(r"\n +", "\n", block) for block in re.findall(r"expr: \|-\n((?: {10}.*\n)+)", text)]
    plain = [json.loads(each) if each.startswith('"') else each for each in re.findall(r"expr: ([^|\n].*)", text)]
    return blocks + plain
