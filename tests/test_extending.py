"""The examples of docs/extending.md are files that work."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from watcher import poll
from watcher.core.model import Failure, Finished, Message, Response, Severity
from watcher.credentials import Surroundings
from watcher.notifiers import Channel, Notifier, registry, send
from watcher.providers import Overrides

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PAGE = (Path(__file__).parents[1] / "docs/extending.md").read_text("utf-8")
BLOCKS = re.findall(r"`(watcher/\S+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)


def module(name):
    (text,) = [text for path, text in BLOCKS if path == name]
    made = ModuleType(name)
    exec(compile(text, name, "exec"), made.__dict__)
    return made


def nothing(_question):
    return Finished(exit_code=127)


def asked(provider, body, status=200):
    surroundings = Surroundings(
        home=Path("/nowhere"), env={"ACME_API_KEY": "fake"}, platform="linux", run=nothing, read_database=nothing
    )
    (credential,) = poll.find(provider, surroundings, Overrides(), now=lambda: NOW).credentials
    requests = []

    def answer(request):
        requests.append(request)
        return Response(status=status, headers={"content-type": "application/json"}, body=body, at=NOW)

    news = poll.ask(provider, credential, now=lambda: NOW, send=answer, read_database=nothing, kept={})
    assert requests[0].headers["Authorization"] == "Bearer fake"
    return news


def test_the_provider_reads_an_answer():
    body = b'{"plan": "pro", "requests": {"used": "30", "limit": 120, "resets_at": "2026-03-03T00:00:00Z"}}'
    snapshot = asked(module("watcher/providers/acme.py").PROVIDER, body)
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
def test_the_provider_turns_every_other_answer_into_a_failure(body, status, kind):
    news = asked(module("watcher/providers/acme.py").PROVIDER, body, status)
    assert isinstance(news, Failure)
    assert news.kind == kind


def test_the_notifier_sends_a_message(monkeypatch):
    pager = module("watcher/notifiers/pager.py")
    assert isinstance(pager.NOTIFIER, Notifier)
    monkeypatch.setitem(registry.NOTIFIERS, "pager", pager.NOTIFIER)  # as its line in the registry would
    channel = Channel(name="p", type="pager", settings=pager.Settings(url="https://pager.example/in", token="fake"))
    message = Message(
        id="k", thread="k", event="firing", severity=Severity.WARNING, title="t" * 500, body="", at=NOW, since=NOW
    )
    sent = []

    def answer(request):
        sent.append(request)
        return Response(status=200, body=b"ok", at=NOW)

    assert send(message, channel, send=answer, run=nothing).delivered
    assert len(sent[0].json["text"]) == 200
    assert sent[0].json["key"] == "k"


@pytest.mark.parametrize(("path", "most"), [("watcher/providers/acme.py", 45), ("watcher/notifiers/pager.py", 24)])
def test_the_examples_stay_short(path, most):
    (text,) = [text for name, text in BLOCKS if name == path]
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(code) <= most
