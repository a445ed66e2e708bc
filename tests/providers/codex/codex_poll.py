"""What the tests of Codex share: a login, and one poll with one answer."""

import json
from datetime import UTC, datetime
from pathlib import Path

from watcher.core.model import Response
from watcher.credentials import Credential, HostInfo
from watcher.polling import fetch
from watcher.providers import Overrides, codex

NOW = datetime(2026, 1, 29, 15, tzinfo=UTC)
PROVIDER = codex.PROVIDER
USAGE = {"rate_limit": {"primary_window": {"used_percent": 9, "limit_window_seconds": 18000}}}


def nowhere(question):
    raise AssertionError(f"asked {question}")


def machine(home: Path, **env: str) -> HostInfo:
    return HostInfo(home=home, env=env, platform="linux", run_command=nowhere, read_database=nowhere)


def login(**extra: str) -> Credential:
    return Credential(provider="codex", source_name="p", path="p", token="t", extra=extra)


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def found_in(home: Path, **overrides: str):
    return fetch.find_logins(PROVIDER, machine(home), Overrides(**overrides))


def request_for(credential: Credential):
    return next(codex.fetch_usage(credential, NOW, {}))


def asked(content, credential=None, kept=None):
    """The outcome of one poll that is answered with this body, and nothing else is asked."""
    questions = []

    def send(request):
        questions.append(request)
        assert len(questions) == 1
        return Response(status=200, body=json.dumps(content).encode(), received_at=NOW)

    return fetch.poll_account(
        PROVIDER, credential or login(), now=lambda: NOW, send=send, read_database=nowhere,
        provider_state={} if kept is None else kept,
    )  # fmt: skip
