"""Recorded answers: what was asked of a provider, what it said, and what must be made of it.

A file in `data/<provider>/` holds `about`, `at` (the instant of the poll), `credential` (fields of a `Credential`),
`exchanges` in the order in which they are asked (`ask` is method and whole address, or `READ` for a question to a
database, answered by `rows`), and `expect`: either `windows` (exactly these, in this order, with at least these fields)
beside `plan`, `note` and `account_name`, or the failure's kind as `error` beside `message` and `retry_at`.
"""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from watcher.core.model import DatabaseQuery, PollFailure, QueryResult, Request, Response, Snapshot
from watcher.credentials import Credential
from watcher.polling import fetch
from watcher.providers import Provider

DATA = Path(__file__).parent / "data"
Play = Callable[[Provider, dict[str, Any]], Snapshot | PollFailure]


def body_of(exchange: dict[str, Any]) -> bytes:
    return exchange["text"].encode() if "text" in exchange else json.dumps(exchange.get("body")).encode()


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def recorded() -> Callable[[str, str], dict[str, Any]]:
    """The recorded answer of a provider by its name."""
    return lambda provider, name: load(DATA / provider / f"{name}.json")


@pytest.fixture
def play() -> Play:
    """One poll against a recorded answer, no network at all."""

    def run(provider: Provider, record: dict[str, Any], send: Callable[[Request], Response] | None = None) -> Any:
        at = datetime.fromisoformat(record["at"])
        left = list(record["exchanges"])

        def from_record(request: Request) -> Response:
            exchange = left.pop(0)
            assert f"{request.method} {request.url}" == exchange["ask"]
            headers = {name.lower(): text for name, text in exchange.get("headers", {}).items()}
            return Response(status=exchange.get("status", 200), headers=headers, body=body_of(exchange), received_at=at)

        def read_database(_question: DatabaseQuery) -> QueryResult:
            exchange = left.pop(0)
            assert exchange["ask"] == "READ"
            rows = tuple(tuple(row) for row in exchange["rows"])
            return QueryResult(
                rows=rows, modified_at=datetime.fromisoformat(exchange.get("modified_at", record["at"])), received_at=at
            )

        fields = {"provider": provider.id, "source_name": "recorded", "path": "recorded", **record["credential"]}
        fields["source_name"] = fields.pop("place", fields["source_name"])
        for name in ("expires_at",):
            if fields.get(name):
                fields[name] = datetime.fromisoformat(fields[name])
        sender = from_record if send is None else lambda request: send(request, now=lambda: at)
        return fetch.poll_account(
            provider, Credential(**fields), now=lambda: at, send=sender, read_database=read_database, provider_state={},
            base_url=record.get("base_url"),
        )  # fmt: skip

    return run


@pytest.fixture
def check() -> Callable[[Snapshot | PollFailure, dict[str, Any]], None]:
    """Compares what came out with what a record expects."""

    def run(outcome: Snapshot | PollFailure, expect: dict[str, Any]) -> None:
        if "error" in expect:
            assert isinstance(outcome, PollFailure), outcome
            assert (outcome.kind, outcome.message) == (expect["error"], expect["message"])
            if "retry_at" in expect:
                assert outcome.retry_at == _instant(expect["retry_at"])
            return
        assert isinstance(outcome, Snapshot), outcome
        assert [reading.window for reading in outcome.readings] == list(expect["windows"])
        for name in {"plan", "note", "account_name"} & expect.keys():
            assert getattr(outcome, name) == expect[name]
        for reading in outcome.readings:
            for name, wanted in expect["windows"][reading.window].items():
                assert getattr(reading, name) == _wanted(name, wanted), f"{reading.window}.{name}"

    return run


def _wanted(name: str, wanted: Any) -> Any:
    if wanted is None:
        return None
    if name == "resets_at":
        return _instant(wanted)
    if name in ("used", "limit", "remaining"):
        return Decimal(wanted)
    return pytest.approx(wanted, rel=1e-9) if isinstance(wanted, float) else wanted


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
