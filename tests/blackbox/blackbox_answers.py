"""A home with logins of all tools, vendors that answer as recorded, and what the program makes of it."""

import json
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from blackbox_world import Home, ReceivedRequest, Reply, Server, facts, instant, start_server

PROVIDERS = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
HUGE = 3 << 20
IGNORED_HEADERS = {"host", "content-length", "connection", "accept-encoding", "accept"}


class Vendors:
    """All vendors at one address. The secret of a request chooses the recorded answers; it gets the next one."""

    def __init__(self, exchanges: dict[str, list[dict[str, Any]]]) -> None:
        self.remaining = {secret: list(each) for secret, each in exchanges.items()}
        self.owners = {secret: secret for secret in exchanges}
        self.log: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def answer(self, asked: ReceivedRequest) -> Reply:
        """The next recorded answer, if it was recorded for this request."""
        form = parse_qs(asked.body.decode(errors="replace")) if asked.path == "/token" else {}
        secret = form.get("refresh_token", [asked.secret])[0]
        owner = self.owners.get(secret, "?")
        self.log[owner].append(_describe_request(asked, form))
        remaining = self.remaining.get(owner, [])
        if not remaining or remaining[0]["ask"] != f"{asked.method} {asked.path.partition('?')[0]}":
            return Reply(status=404, headers={"content-type": "application/json"}, body=b"{}")
        exchange = remaining.pop(0)
        body = exchange.get("body")
        if isinstance(body, dict) and isinstance(body.get("access_token"), str):
            self.owners[body["access_token"]] = owner
        content = exchange["text"].encode("latin-1") if "text" in exchange else json.dumps(body).encode()
        if exchange.get("huge"):
            content = b'"' + b"x" * HUGE + b'"'
        headers = {name.lower(): text for name, text in exchange.get("headers", {}).items()}
        return Reply(exchange.get("status", 200), headers, content, exchange.get("how", "whole"))


def _describe_request(asked: ReceivedRequest, form: dict[str, list[str]]) -> dict[str, Any]:
    """A request without what depends on the machine or the version."""
    headers = {name: text for name, text in sorted(asked.headers.items()) if name not in IGNORED_HEADERS}
    if "user-agent" in headers:
        headers["user-agent"] = headers["user-agent"].partition("/")[0]
    body: Any = form or asked.body.decode(errors="replace")
    if isinstance(body, str) and body.startswith("{"):
        body = json.loads(body)
    return {"ask": f"{asked.method} {asked.path}", "headers": headers, "body": body}


def prepare_home(home: Home, case: dict[str, Any], url: str) -> None:
    """Write logins and config."""
    home.env.update(case["env"])
    for name, content in case["files"].items():
        home.write(name, content)
    if case["cache"] is not None:
        home.editor_cache(case["cache"]["value"], instant(case["cache"]["modified_at"]))
    tables = "".join(f'[providers.{name}]\nbase_url = "{url}"\n' + case["tables"].get(name, "") for name in PROVIDERS)
    home.config(tables)


def check_home(case: dict[str, Any], folder: Path, later: timedelta = timedelta(0)) -> dict[str, Any]:
    """One or two checks in that home and the status after them.

    Args:
        case: the home.
        folder: for the home.
        later: moves the clock away from the usual instant; what changes by it depends on the clock.
    """
    at = instant(case["at"]) + later
    vendors = Vendors(case["exchanges"])
    server: Server
    with start_server(vendors.answer) as server:
        home = Home(folder)
        prepare_home(home, case, server.url)
        before = home.contents()
        check = home.run("check", at=at)
        first = {key: list(value) for key, value in vendors.log.items()}
        status = home.run("status", "--json", at=at + timedelta(seconds=90))
        found = {
            "check": check.code,
            "asked": first,
            "status": {"code": status.code, "document": _remove_variable_parts(status.document)},
            "untouched": home.contents() == before,
            "traceback": "Traceback" in check.out + check.err + status.err,
        }
        if case["again"]:
            vendors.log.clear()
            found["again"] = {"check": home.run("check", at=at + timedelta(minutes=3)).code}
            found["again"]["asked"] = {key: [each["ask"] for each in value] for key, value in vendors.log.items()}
    return found


def _remove_variable_parts(document: dict[str, Any]) -> dict[str, Any]:
    """The status; of sentences the facts, because their wording is free. The next poll is partly random."""
    for account in document["providers"]:
        account.pop("next_poll_at", None)
        account.pop("next_poll_reason", None)
        if account["error"] is not None:
            assert account["error"]["message"].isprintable()
            assert account["error"]["message"]
            account["error"]["message"] = facts(account["error"]["message"])
    return document
