"""The examples of `docs/extending.md` are files that work, and its steps are complete."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from watcher.core.model import CommandResult, Message, PollFailure, Response, Severity
from watcher.credentials import HostInfo
from watcher.notifiers import NOTIFIERS, Channel, Notifier, send_message
from watcher.polling import fetch
from watcher.providers import Overrides

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extending.md").read_text("utf-8")
BLOCKS = re.findall(r"`(watcher/\S+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
RECORD = re.search(r"normal\.json`:\n\n```json\n(.*?)```", PAGE, re.DOTALL)[1]
ROWS = re.findall(r"^\| `(\w+)\.json` \| (\d+) \| `(.+?)` \| `(.+)` \|$", PAGE, re.MULTILINE)
WINDOWS = "    " + re.search(r"`(\"acme\": ProviderWindows\(.*\),)`", PAGE)[1]
SETTINGS = re.search(r"`(\"pager\": \{.*\},)`", PAGE)[1]
CHANNEL = '[channels.night]\ntype = "pager"\nurl = "https://pager.example/in"\ntoken = "env:PAGER_TOKEN"\n'


def module(name):
    (text,) = [text for path, text in BLOCKS if path == name]
    made = ModuleType(name)
    exec(compile(text, name, "exec"), made.__dict__)
    return made


def run_nothing(_command):
    return CommandResult(exit_code=127)


def poll(provider, body, status=200):
    host_info = HostInfo(
        home=Path("/nowhere"),
        env={"ACME_API_KEY": "fake"},
        platform="linux",
        run_command=run_nothing,
        read_database=run_nothing,
    )
    (credential,) = fetch.find_logins(provider, host_info, Overrides(), now=lambda: NOW).credentials
    requests = []

    def send(request):
        requests.append(request)
        return Response(status=status, headers={"content-type": "application/json"}, body=body, received_at=NOW)

    result = fetch.poll_account(
        provider, credential, now=lambda: NOW, send=send, read_database=run_nothing, provider_state={}
    )
    assert requests[0].headers["Authorization"] == "Bearer fake"
    return result


def test_the_provider_reads_a_response():
    body = b'{"plan": "pro", "requests": {"used": "30", "limit": 120, "resets_at": "2026-03-03T00:00:00Z"}}'
    snapshot = poll(module("watcher/providers/acme.py").PROVIDER, body)
    (reading,) = snapshot.readings
    assert (snapshot.plan, reading.used_percent, reading.remaining) == ("pro", 25.0, Decimal(90))


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{}", 200, "shape"),
        (b'{"requests": {"used": true, "limit": 9}}', 200, "shape"),
        (b"<html>", 200, "blocked"),
        (b"{}", 401, "expired"),
        (b"{}", 429, "rate_limited"),
        (b"{}", 500, "server"),
    ],
)
def test_the_provider_turns_every_bad_response_into_a_failure(body, status, kind):
    failure = poll(module("watcher/providers/acme.py").PROVIDER, body, status)
    assert isinstance(failure, PollFailure)
    assert failure.kind == kind


def test_the_notifier_sends_a_message(monkeypatch):
    pager = module("watcher/notifiers/pager.py")
    assert isinstance(pager.NOTIFIER, Notifier)
    monkeypatch.setitem(NOTIFIERS, "pager", pager.NOTIFIER)  # as its line in `_MODULES` would
    channel = Channel(name="p", type="pager", settings=pager.Settings(url="https://pager.example/in", token="fake"))
    message = Message(
        id="k", thread="k", event="firing", severity=Severity.WARNING, title="t" * 500, body="", at=NOW, since=NOW
    )
    sent = []

    def send(request):
        sent.append(request)
        return Response(status=200, body=b"ok", received_at=NOW)

    assert send_message(message, channel, send=send, run=run_nothing).delivered
    assert len(sent[0].json["text"]) == 500
    assert sent[0].json["key"] == "k"


@pytest.fixture(scope="module")
def changed_copy(tmp_path_factory):
    """A copy of the project with every step of the page done."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("watcher", "tests", "docs", "rules"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    for path, text in BLOCKS:
        (copy / path).write_text(text, "utf-8")
    record = json.loads(RECORD)
    answers = copy / "tests/providers/data/acme"
    answers.mkdir()
    (answers / "normal.json").write_text(RECORD, "utf-8")
    (exchange,) = record["exchanges"]
    for name, status, body, expect in ROWS:
        changed = exchange | {"status": int(status), "body": json.loads(body)}
        whole = record | {"exchanges": [changed], "expect": json.loads(expect)}
        (answers / f"{name}.json").write_text(json.dumps(whole), "utf-8")
    body = exchange["body"]
    for path, before, line in (
        ("watcher/providers/registry.py", "    Provider,\n", "    acme,\n"),
        ("watcher/providers/registry.py", "gemini_cli, antigravity", ", acme"),
        (
            "watcher/core/rules/vocabulary.py",
            '    "antigravity": ProviderWindows(primary=(), known=(), others_pattern=ANY_SLUG),\n',
            f"{WINDOWS}\n",
        ),
        (
            "watcher/demo/responses.py",
            '    ("GET", "/api/oauth/usage"): claude_usage,\n',
            f'    ("GET", "/v1/quota"): lambda *_: {body},\n',
        ),
        ("README.md", "| --- | --- | --- |\n", "| `acme` | `api.acme.example`, every 5 min | `ACME_API_KEY` |\n"),
        ("docs/providers.md", "| --- | --- | --- | --- | --- |\n", "| `acme` | 1 min | 5 min | 30 min | `daily` |\n"),
        ("docs/providers.md", "## claude\n", "\nx\n\n## acme\n\nAsks `api.acme.example`.\n\n## claude\n"),
        ("watcher/notifiers/__init__.py", "ntfy, ", "pager, "),
        ("watcher/notifiers/__init__.py", "ntfy, email", ", pager"),
        ("docs/channels.md", "## apprise\n", f"\nx\n\n## pager\n\n```toml\n{CHANNEL}```\n\n## apprise\n"),
        ("tests/notifiers/conftest.py", "SETTINGS = {\n", f"    {SETTINGS}\n"),
    ):
        text = (copy / path).read_text("utf-8")
        assert before in text
        (copy / path).write_text(text.replace(before, before + line, 1), "utf-8")
    return copy


@pytest.mark.parametrize(
    ("folders", "new"),
    [
        pytest.param(("tests/providers", "tests/core/rules/test_vocabulary.py"), "acme", marks=pytest.mark.slow),
        (("tests/notifiers",), "pager"),
    ],
)
def test_the_steps_of_the_page_satisfy_the_contract_tests(changed_copy, folders, new):
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", "-k", f"{new} or registry", *folders]
    env = {**os.environ, "PYTHONPATH": str(changed_copy)}
    done = subprocess.run(argv, cwd=changed_copy, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 8


@pytest.mark.parametrize(("path", "max_lines"), [("watcher/providers/acme.py", 45), ("watcher/notifiers/pager.py", 24)])
def test_the_examples_stay_short(path, max_lines):
    (text,) = [text for name, text in BLOCKS if name == path]
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(code) <= max_lines
