"""What the tests of Codex share: a login, and one poll with one answer."""

import json
from datetime import UTC, datetime
from pathlib import Path

from watcher import poll
from watcher.core.model import Response
from watcher.credentials import Credential, Surroundings
from watcher.providers import Overrides, codex

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
PROVIDER = codex.PROVIDER
USAGE = {"rate_limit": {"primary_window": {"used_percent": 9, "limit_window_seconds": 18000}}}


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, **env: str) -> Surroundings:
    return Surroundings(home=home, env=env, platform="linux", run=nowhere, read_database=nowhere)


def login(**extra: str) -> Credential:
    return Credential(provider="codex", place="p", path="p", token="t", extra=extra)


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def found_in(home: Path, **overrides: str):
    return poll.find(PROVIDER, machine(home), Overrides(**overrides))


def request_for(credential: Credential):
    return next(codex.ask(credential, NOW, {}))


def asked(content, credential=None, kept=None):
    """The outcome of one poll that is answered with this body, and nothing else is asked."""
    questions = []

    def send(request):
        questions.append(request)
        assert len(questions) == 1
        return Response(status=200, body=json.dumps(content).encode(), at=NOW)

    return poll.ask(
        PROVIDER, credential or login(), now=lambda: NOW, send=send, read_database=nowhere,
        kept={} if kept is None else kept,
    )  # fmt: skip
