"""Distinct secrets in every place where one can be; every command, with success and with faults; then all is searched.

The far side is as indiscreet as can be: its refusals quote the whole request back, and so do its answers. What comes
out is what is printed, every file that the program writes, every message, and the arguments and the environment of
every program that it starts. `test_secrets_in_processes` does the same to processes.
"""

import base64
import io
import json
import os
import shlex
import socketserver
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from datetime import timedelta
from importlib import import_module

import click
import pytest
from loguru import logger
from msgspec import structs

from watcher.cli import COMMANDS, EXIT_SOFTWARE, dispatch
from watcher.cli.dashboard import build_details_event
from watcher.core.model import Mail, NetworkSettings
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.delivery import dispatcher
from watcher.demo.responses import ENDPOINTS
from watcher.demo.scenario import SimulatedDay
from watcher.demo.server import FAULTS, Reply, Server, json_reply
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock, environment, http, paths, process
from watcher.system import log as logs

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are shell scripts, and the login item systemd's"),
    pytest.mark.usefixtures("own_providers"),
]


def planted(name):
    return f"planted{name.lower()}5c1f9e"  # small letters: a window's id is a slug


SENT = {  # what a request must carry, and the begin of the only path that may: an unused one would prove nothing
    "ClaudeAccess": "/api/oauth/",
    "ClaudeCodeAccess": "/api/oauth/",
    "CodexAccess": ("/backend-api/", "/api/accounts/"),
    "CopilotAccess": ("/copilot_internal/", "/user"),
    "NanoKey": "/api/",
    "GoogleRefresh": "/token",
    "GoogleClientSecret": "/token",
    "AgyAccess": ("/v1internal", "/oauth2/"),
    "DeepseekKey": "/user/",
    "OpenrouterToken": "/api/v1/",
    "CursorToken": "/aiserver.",
    "GrokKey": "/v1/billing",
    "AcmeToken": "/acme/",
    "SlackPath": "/services/",
    "DiscordToken": "/api/v10/webhooks/",
    "HookPath": "/hook/",
    "HookHeader": "/hook/",
    "PagerKey": "/pager",
    "PagerToken": "/pager",
    "NtfyTopic": "/ntfy",
    "NtfyToken": "/ntfy",
    "AlertmanagerToken": "/am/",
    "PushToken": "/push",
}
NEVER_SENT = (  # these are single-use, or sign what is sent and stay at home
    *("ClaudeRefresh", "ClaudeCodeRefresh", "CodexRefresh", "CopilotRefresh", "HookSecret"),
    *("MetricsToken", "MetricsSalt", "Prompt", "OldHook", "OldToken", "NearbyNote"),
)
IN_PROGRAMS = ("CommandArgument", "MailPassword")  # go to a program, or by SMTP
IN_ADDRESSES = ("BaseUrlPassword", "NtfyPassword", "ProxyPassword", "PushPassword")  # sent encoded
S = {name: planted(name) for name in (*SENT, *NEVER_SENT, *IN_PROGRAMS, *IN_ADDRESSES)}
ENCODED = {
    **{name: base64.b64encode(f"me:{S[name]}".encode()).decode() for name in IN_ADDRESSES},
    "MailPassword": base64.b64encode(f"\0me@example.com\0{S['MailPassword']}".encode()).decode(),
}
HIDDEN = [*S.items(), *ENCODED.items()]

CONFIG = """\
[poll]
hints = false
{providers}
[providers.openrouter]
base_url = "{url}"
token = "{OpenrouterToken}"
[channels.slack]  # {NearbyNote}
type = "slack"  # {OldToken}
url = "{url}/services/T0/B0/{SlackPath}"  # {OldHook}
[channels.discord]
type = "discord"
url = "env:DISCORD_URL"
[channels.hook]
type = "webhook"
url = "file:~/hook-url"
secret = "cmd:cat hook-secret"
headers = {{ Authorization = "Bearer {HookHeader}" }}
[channels.pager]
type = "webhook"
url = "{url}/pager"
json = {{ routing_key = "env:PAGER_KEY", token = "{PagerToken}", text = "{{title}}" }}
[channels.ntfy]
type = "ntfy"
topic = "{NtfyTopic}"
server = "{url}/ntfy"
token = "env:NTFY_TOKEN"
[channels.private]
type = "ntfy"
topic = "alerts"
server = "{private}/ntfy"
[channels.mail]
type = "email"
from = "me@example.com"
to = "me@example.com"
host = "127.0.0.1"
port = {mail_port}
username = "me@example.com"
password = "{MailPassword}"
insecure = true
[channels.lamp]
type = "command"
argv = ["{lamp}", "--token={CommandArgument}"]
[channels.am]
type = "alertmanager"
urls = ["{url}/am"]
headers = {{ X-Scope = "{AlertmanagerToken}" }}
[metrics]
listen = "127.0.0.1:0"
token = "{MetricsToken}"
salt = "{MetricsSalt}"
textfile = "{home}/metrics.prom"
[metrics.push]
url = "{push}/push"
headers = {{ X-Scope = "{PushToken}" }}
[route]
default = ["slack", "discord", "hook", "pager", "ntfy", "private", "mail", "lamp"]
[[rule]]
name = "full"
when = "*.used_percent > 1%"
[[rule]]
name = "blind"
when = "not *.up"
message = "{{provider}}: {{error}}"
"""
OWN_PROVIDER = """\
id = "acme"
name = "Acme"
token = ["file:~/acme.json#login.token"]
[[request]]
url = "{url}/acme/usage?organisation={{env:ACME_ORGANISATION}}"
error_if = "error"
error_message = "error.message"
[[window]]
id = "monthly"
kind = "monthly"
used = "used"
limit = "limit"
"""
LATER = 4102444800000  # ms
LOGINS = {
    ".local/share/opencode/auth.json": {
        "anthropic": {"type": "oauth", "access": S["ClaudeAccess"], "refresh": S["ClaudeRefresh"], "expires": LATER},
        "openai": {
            "type": "oauth", "access": S["CodexAccess"], "refresh": S["CodexRefresh"], "expires": LATER,
            "accountId": "account-1",
        },
        "github-copilot": {
            "type": "oauth", "access": S["CopilotAccess"], "refresh": S["CopilotAccess"],
            "enterprise": S["CopilotRefresh"], "expires": 0,
        },
        "nano-gpt": {"type": "api", "key": S["NanoKey"]},
    },
    ".claude/.credentials.json": {
        "claudeAiOauth": {
            "accessToken": S["ClaudeCodeAccess"], "refreshToken": S["ClaudeCodeRefresh"], "expiresAt": LATER,
            "scopes": ["user:inference", "user:profile"],
        }
    },
    ".config/opencode/antigravity-accounts.json": {
        "version": 3,
        "accounts": [{"email": "me@example.com", "refreshToken": S["GoogleRefresh"], "projectId": "project-1"}],
        "activeIndex": 0,
    },
    ".gemini/antigravity-cli/antigravity-oauth-token": {
        "token": {"access_token": S["AgyAccess"], "refresh_token": S["GoogleRefresh"], "expiry": "2100-01-01T00:00:00Z"}
    },
    ".grok/auth.json": {"me": {"key": S["GrokKey"]}},
    "acme.json": {"login": {"token": S["AcmeToken"]}},
}  # fmt: skip
SESSION = {"timestamp": "2026-03-02T09:00:00Z", "type": "event_msg", "payload": {"type": "token_count", "rate_limits": {
    "primary": {"used_percent": 12.0, "window_minutes": 300, "resets_in_seconds": 600}}}}  # fmt: skip
STATUS_LINE = {
    "session_id": "1",
    "workspace": S["Prompt"],
    "model": {"id": S["Prompt"]},
    "rate_limits": {"five_hour": {"used_percentage": 12.5, "resets_at": 4e9}},
}
"""What Claude Code pipes into a status line; its other keys must not be stored."""


class Far:
    """All providers and all channels on one port, and what to answer."""

    def __init__(self):
        self.day = SimulatedDay(midnight=clock.utc_now() - timedelta(hours=11.3))
        self.fault = None  # a status, a name of `FAULTS`, "echo" (success that quotes the login), or None
        self.failing = ("channels",)  # or providers, or both
        self.messages = []  # (path, body)

    def __call__(self, asked):
        is_channel = asked.path.startswith(("/services/", "/api/v10/", "/hook/", "/pager", "/ntfy", "/am/", "/push"))
        if is_channel:
            self.messages.append((asked.path, asked.body))
        if self.fault not in (None, "echo") and ("channels" if is_channel else "providers") in self.failing:
            return self.indiscreet(asked)
        if is_channel:
            return Reply(body=b"ok")
        endpoint = ENDPOINTS.get((asked.method, asked.path))
        if asked.path.startswith("/acme/"):
            answer = {"used": 50, "limit": 100}
        elif endpoint is None:
            return json_reply({"message": f"unknown {asked.headers.get('authorization')}"}, 404)
        else:
            now = clock.utc_now()
            answer = endpoint(self.day.usage_at(now), now)
        if self.fault == "echo" and asked.path != "/token":
            answer = quote(answer, asked.headers.get("authorization", "").split(" ")[-1])
        return json_reply(answer)

    def indiscreet(self, asked):
        words = [asked.method, asked.path, asked.query, dict(asked.headers), asked.body.decode("utf-8", "replace")]
        quoted = json.dumps({"message": json.dumps(words), "error": {"message": " ".join(map(str, words))}}).encode()
        headers = {"x-quoted": quoted.decode()}
        if isinstance(self.fault, int):
            headers |= {"location": f"https://elsewhere.invalid{asked.path}"}
            return Reply(status=self.fault, headers=headers, body=quoted)
        return structs.replace(FAULTS[self.fault], headers=headers)


def quote(answer, token):
    """The answer with that token in place of every text but times and numbers."""
    if isinstance(answer, dict):
        return {key: quote(value, token) for key, value in answer.items()}
    if isinstance(answer, list):
        return [quote(value, token) for value in answer]
    return token if isinstance(answer, str) and answer[:1].isalpha() else answer


class MailServer(socketserver.StreamRequestHandler):
    """Refuses every login, in the words of the login."""

    def handle(self):
        self.wfile.write(b"220 here\r\n")
        with suppress(OSError):
            for line in iter(self.rfile.readline, b""):
                self.server.seen.append(line)
                is_login = line.upper().startswith(b"AUTH")
                hello = line.upper().startswith(b"EHLO")
                said = b"250-here\r\n250 AUTH PLAIN" if hello else b"535 no: " + line.strip() if is_login else b"221 ok"
                self.wfile.write(said + b"\r\n")


@pytest.fixture
def far():
    ours = Far()
    with Server(ours) as server, socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailServer) as mail:
        ours.server, ours.mail, mail.seen, mail.daemon_threads = server, mail, [], True
        threading.Thread(target=mail.serve_forever, args=(0.02,), daemon=True).start()
        yield ours
        mail.shutdown()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def make_config(home, far):
    url = far.server.url

    def behind(name):
        return url.replace("://", f"://me:{S[name]}@")

    names = ("claude", "codex", "copilot", "nano_gpt", "antigravity", "deepseek", "cursor", "grok")
    providers = "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in names)
    providers += f'[providers.gemini_cli]\nbase_url = "{behind("BaseUrlPassword")}"\n'
    places = {"private": behind("NtfyPassword"), "push": behind("PushPassword")}
    return CONFIG.format(
        url=url, providers=providers, home=home, lamp=home / "bin" / "lamp", mail_port=far.mail.server_address[1],
        **places, **S,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch, far):
    """A home with a secret in every place; what it holds at the start is not searched."""
    home, url = tmp_path, far.server.url
    for name, content in LOGINS.items():
        write(home / name, json.dumps(content))
    write(home / "hook-url", f"{url}/hook/{S['HookPath']}\n")
    write(home / "hook-secret", S["HookSecret"])
    write(home / ".codex" / "sessions" / "2026" / "03" / "02" / "rollout-1.jsonl",
          json.dumps({"type": "message", "text": S["Prompt"]}) + "\n" + json.dumps(SESSION) + "\n")  # fmt: skip
    database = home / ".config" / "Cursor" / "User" / "globalStorage" / "state.vscdb"
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as cursor, cursor:
        cursor.execute("CREATE TABLE ItemTable (key TEXT, value BLOB)")
        cursor.execute("INSERT INTO ItemTable VALUES ('cursorAuth/accessToken', ?)", (S["CursorToken"],))
    write(home / "config" / "config.toml", make_config(home, far))
    write(home / "config" / "providers" / "acme.toml", OWN_PROVIDER.format(url=url))
    for name, words in {"systemctl": "exit 1", "loginctl": "exit 1", "notify-send": "exit 1", "ps": "exit 1",
                        "lamp": "echo $*; echo $* >&2"}.items():  # fmt: skip
        write(home / "bin" / name, f"#!/bin/sh\n{words}\n")
        (home / "bin" / name).chmod(0o700)
    kept = {name: os.environ[name] for name in ("LANG", "PYTHONPATH") if name in os.environ}
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in kept.items() | {
        "HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin", "EDITOR": "true", "TZ": "UTC",
        "WATCHER_CONFIG_DIR": str(home / "config"), "WATCHER_STATE_DIR": str(home / "state"),
        "DISCORD_URL": f"{url}/api/webhooks/123/{S['DiscordToken']}", "NTFY_TOKEN": S["NtfyToken"],
        "PAGER_KEY": S["PagerKey"], "ACME_ORGANISATION": "acme", "DEEPSEEK_API_KEY": S["DeepseekKey"],
        "GEMINI_CLIENT_ID": "client-1", "GEMINI_CLIENT_SECRET": S["GoogleClientSecret"],
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home)
    monkeypatch.setattr(dispatcher, "CHANNEL_SPACING", {})
    yield home
    logger.remove()


# --- what is done -----------------------------------------------------------------------------------------------------

DRIVEN = {  # every command, by its words -> the lines that are run in this process
    "init": ["init"],
    "check": ["check", "check --json"],
    "status": ["status", "status --json --refresh", "status --format waybar", "status claude"],
    "guard": ["guard 'claude.five_hour > 1%'", "guard --json 'acme > 1%'"],
    "wait": ["wait 'claude.five_hour > 1%' --timeout 1s"],
    "best": ["best", "best --json"],
    "rules add": ["rules add mine --when 'claude > 50%' --notify slack"],
    "rules check": ["rules check"],
    "rules compile": ["rules compile"],
    "rules disable": ["rules disable mine"],
    "rules edit": ["rules edit full"],
    "rules explain": ["rules explain full", "rules explain blind --json"],
    "rules list": ["rules list", "rules list --json"],
    "rules test": ["rules test"],
    "replay": ["replay rules.toml --since 7d", "replay rules.toml --since 7d --json"],
    "history": ["history", "history --json", "history --csv", "history claude --plot"],
    "report": ["report -o -"],
    "metrics": ["metrics"],
    "metrics push": ["metrics push"],
    "providers check": ["providers check"],
    "providers list": ["providers list"],
    "providers test": [f"providers test {each}" for each in ("acme", "claude", "openrouter --json", "grok")],
    "doctor": ["doctor", "doctor --json", "doctor --provider claude"],
    "config edit": ["config edit"],
    "config path": ["config path"],
    "config schema": ["config schema"],
    "config show": ["config show"],
    "snooze": ["snooze full --for 1h", "snooze"],
    "unsnooze": ["unsnooze --all"],
    "channels add": ["channels add slack --name more --no-test --url https://hooks.slack.com/services/{SlackPath}"],
    "notify test": ["notify test", "notify test hook"],
    "ingest claude-statusline": ["ingest claude-statusline"],
    "agent print": ["agent print"],
    "agent install": ["agent install --dry-run --network", "agent install"],
    "agent status": ["agent status"],
    "agent uninstall": ["agent uninstall"],
    "logs": ["logs"],
    "completion": ["completion bash"],
    "help": ["help", "help check", "help exit-codes"],
    "uninstall": ["uninstall"],
}
SERVED = ("run", "dashboard", "demo")  # these go on, so they are processes in `test_secrets_in_processes`


def list_commands(command, words=()):
    if not isinstance(command, click.Group):
        return [" ".join(words)]
    own = [" ".join(words)] if command.invoke_without_command else []
    return own + [each for name, sub in command.commands.items() for each in list_commands(sub, (*words, name))]


def send(request):
    """As the daemon does, in a hurry."""
    hurried = structs.replace(request, timeout_s=min(request.timeout_s, 1.0))
    return environment.create_environment().send(hurried) if isinstance(request, Mail) else http.send_request(hurried)


def once(home, **changes):
    """One round of the daemon: poll, judge, deliver; logged as `watcher run --verbose` does."""
    real = structs.replace(environment.create_environment(), **({"send": send} | changes))
    own, redactor = paths.resolve_paths(os.environ, home), Redactor()
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=clock.utc_now())
    log = logs.FileLog(own.state_dir, redactor, verbose=True)
    with closing(store):
        Daemon(paths=own, environment=real, store=store, log=log, redactor=redactor).run_once()


class Life:
    """What is done with that home, and all that comes out of it."""

    def __init__(self, home, far, capsys, monkeypatch):
        self.home, self.far, self.capsys, self.monkeypatch = home, far, capsys, monkeypatch
        self.config = home / "config" / "config.toml"
        self.planted = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
        self.printed, self.programs = {}, []
        life = self

        class Recorded(subprocess.Popen):
            def __init__(self, *args, **options):
                argv = args[0] if args else options["args"]
                life.programs.append(
                    ([argv] if isinstance(argv, str) else argv, options.get("env") or dict(os.environ))
                )
                super().__init__(*args, **options)

        monkeypatch.setattr(process.subprocess, "Popen", Recorded)

    def edit(self, old, new):
        for name, secret in S.items():
            old, new = old.replace(f"{{{name}}}", secret), new.replace(f"{{{name}}}", secret)
        text = self.config.read_text("utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new))

    def run(self, *lines):
        """Run command lines in this process, and keep what they print."""
        rules = "".join(f"[[rule]]{each}" for each in CONFIG.partition("[[rule]]")[2].split("[[rule]]"))
        (self.home / "rules.toml").write_text(rules.replace("{{", "{").replace("}}", "}"))
        for line in lines:
            stdin = io.TextIOWrapper(io.BytesIO(json.dumps(STATUS_LINE).encode()), encoding="utf-8")
            self.monkeypatch.setattr(sys, "stdin", stdin)
            code = dispatch(shlex.split(line.replace("{SlackPath}", S["SlackPath"])))
            out, err = self.capsys.readouterr()
            assert code != EXIT_SOFTWARE, f"{line}: {err}"
            self.printed[line] = self.printed.get(line, "") + out + err

    def run_commands(self, *, every_line=False):
        """Run every command; `every_line`: in all its forms."""
        self.run(*(line for lines in DRIVEN.values() for line in (lines if every_line else lines[:1])))

    def find_leaks(self):
        """(secret, where it came out)."""
        logger.complete()
        out, err = self.capsys.readouterr()
        found = {"elsewhere": f"{out}{err}".encode()} | {line: text.encode() for line, text in self.printed.items()}
        for path in self.home.rglob("*"):
            if path.is_file() and path not in self.planted:
                found[str(path.relative_to(self.home))] = path.read_bytes()
        leaks = [(name, where) for where, text in found.items() for name, secret in HIDDEN if secret.encode() in text]
        for path, body in self.far.messages:  # some services take the key in the body
            leaks += [
                (name, f"message to {path}")
                for name, secret in HIDDEN
                if secret.encode() in body and not path.startswith(SENT.get(name, "never"))
            ]
        for argv, env in self.programs:
            if argv[0].startswith(os.environ["EDITOR"]):
                continue  # the person's own, in their terminal
            known = [*argv, *(f"{key}={value}" for key, value in env.items())]
            leaks += [
                (name, f"program {argv[0]}")
                for name, secret in HIDDEN
                if secret in repr(known) and not (name == "CommandArgument" and argv[0].endswith("lamp"))
            ]
        return leaks

    def find_strays(self):
        """(secret, path of a request that must not carry it), and files of others that have changed."""
        strays = [
            (name, asked.path)
            for asked in self.far.server.requests
            for name, secret in HIDDEN
            if secret in repr(asked) and not asked.path.startswith(SENT.get(name, "/"))
        ]
        changed = [path for path, was in self.planted.items() if path != self.config and path.read_bytes() != was]
        return strays + changed


@pytest.fixture
def life(home, far, capsys, monkeypatch):
    return Life(home, far, capsys, monkeypatch)


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_every_command_is_driven():
    found = []
    for name, (target, _help) in COMMANDS.items():
        module, _, attribute = target.partition(":")
        found += list_commands(getattr(import_module(module), attribute), (name,))
    assert sorted(found) == sorted([*DRIVEN, *SERVED])


def test_success_leaks_no_secret_and_uses_those_it_must(life, far):
    once(life.home)
    life.run_commands()
    life.printed["dashboard"] = build_details_event(
        paths.resolve_paths(os.environ, life.home), clock.utc_now()
    ).decode()
    assert life.find_leaks() == []
    assert life.find_strays() == []
    assert "firing: full" in life.printed["status"]
    asked = repr(far.server.requests) + repr(far.mail.seen)
    assert [name for name in SENT if S[name] not in asked] == []
    assert [name for name in NEVER_SENT if S[name] in asked] == []
    assert [name for name, secret in ENCODED.items() if secret not in asked and name != "ProxyPassword"] == []
    assert any(argv[0].endswith("lamp") for argv, _ in life.programs)


@pytest.mark.slow
def test_success_leaks_no_secret_in_any_form_of_a_command(life):
    once(life.home)
    life.run_commands(every_line=True)
    assert life.find_leaks() == []
    assert life.find_strays() == []


LOOKS = ("check --json", "status", "status --json", "doctor", "rules explain blind", "history", "metrics push")


def test_refusals_that_quote_the_request_leak_no_secret(life, far):
    far.fault, far.failing = 401, ("channels", "providers")
    once(life.home)
    life.run(*LOOKS, "notify test", "providers test claude", "providers test acme")
    assert life.find_leaks() == []
    assert "expired" in life.printed["status"]
    assert "401" in life.printed["notify test"]


def test_answers_that_quote_the_login_leak_no_secret(life, far):
    far.fault = "echo"
    once(life.home)
    life.run(*LOOKS, "providers test claude", "providers test grok", "best", "status --template '{line}'")
    assert life.find_leaks() == []
    assert "five_hour" in life.printed["status --json"]


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["channels", "providers"])
@pytest.mark.parametrize(
    "fault",
    [302, 400, 401, 403, 404, 407, 410, 429, 500, "html", "reset", "torn json", "bad gzip", "huge", "deep", "cut"],
)
def test_no_fault_leaks_a_secret(life, far, fault, failing):
    far.fault, far.failing = fault, (failing,)
    once(life.home)
    once(life.home)
    life.run(*LOOKS, "providers test claude", "providers test acme", "notify test")
    assert life.find_leaks() == []
    assert life.find_strays() == []
    assert far.messages


@pytest.mark.slow
def test_servers_that_never_answer_leak_no_secret(life, far):
    def hurried(request):
        return send(structs.replace(request, timeout_s=0.2))

    far.fault = "slow"
    for far.failing in (("channels",), ("providers",)):
        once(life.home, send=hurried)
    life.run(*(line for line in LOOKS if "check" not in line and "push" not in line))
    assert life.find_leaks() == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["config", "environment"])
@pytest.mark.parametrize("fault", [407, "html", "reset"])
def test_a_proxy_with_a_password_is_shown_without_it(life, far, monkeypatch, fault, place):
    """Every provider is asked at its real address, by way of a proxy that refuses in the words of the request."""
    proxy = far.server.url.replace("://", f"://me:{S['ProxyPassword']}@")
    text = "".join(
        line for line in life.config.read_text("utf-8").splitlines(keepends=True) if not line.startswith("base_url")
    )
    life.config.write_text(f'[network]\nproxy = "{proxy}"\n{text}' if place == "config" else text)
    if place == "environment":
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    far.fault, far.failing = fault, ("channels", "providers")
    once(life.home, send=environment.create_environment(NetworkSettings(proxy=proxy)).send)
    life.run(
        *LOOKS, "config show", "agent install --dry-run", "agent install --network --dry-run", "providers test claude"
    )
    leaks = [(name, where) for name, where in life.find_leaks() if not where.startswith("program")]
    assert leaks == []  # a program of the person's own has to find the proxy too
    assert "proxy" in life.printed["status"]


def test_a_defect_leaks_no_secret(life):
    """An unexpected exception holds the whole request; its traceback goes to the log."""

    def broken(request):
        raise RuntimeError(repr((request.url, dict(request.headers), request.form, request.json)))

    once(life.home, send=broken)
    life.run("status", "doctor")
    assert life.find_leaks() == []


def test_a_crash_of_the_loop_is_logged_without_secrets(life):
    redactor = Redactor()
    redactor.add_secrets(S.values())
    (life.home / "state").mkdir()
    log = logs.FileLog(life.home / "state", redactor, json_lines=True)
    log.report_error("here", RuntimeError(" ".join(S.values())))
    assert life.find_leaks() == []
    assert "RuntimeError" in (life.home / "state" / "watcher.log").read_text("utf-8")


# --- mistakes in the files --------------------------------------------------------------------------------------------


def list_mistyped(line):
    """That line of a table with one mistake, again and again."""
    key, _, value = line.partition(" = ")
    bare = value.replace('"', "")
    return {
        "no quotes": f"{key} = {bare}",
        "no quotes, words": f"{key} = my {bare}",
        "not ended": line[:-1],
        "not begun": f"{key} = {value[1:]}",
        "other quote": f"{key} = '{value[1:]}",
        "mistyped key": f"{key[:-2]}{key[:-3:-1]}x = {value}",
        "list": f"{key} = [{value}, 1]",
        "table": f"{key} = {{ a = {value}, b = 1 }}",
        "twice": f"{line}\n{line}",
        "colon": f"{key}: {value}",
        "no sign": f"{key} {value}",
        "more behind": f"{line} {value}",
        "bad escape": f"{key} = {value[:-1]}\\q{value[-1]}",
        "header": f"[{line}]",
        "two lines": f'{key} = """\n{bare}',
    }


def list_lines_with_secrets(config):
    """Each line of the config that holds a secret, a list or a table of them too."""
    return [line for line in config.splitlines() if any(secret in line for secret in S.values()) and " = " in line]


def find_leaks_of_mistakes(life, mistakes, *lines):
    """(old, new) -> what leaks with that change of the config."""
    good, found = life.config.read_text("utf-8"), {}
    for old, new in mistakes:
        life.config.write_text(good.replace(old, new))
        life.run(*lines)
        leaks = life.find_leaks()
        if leaks:
            found[new] = leaks
        life.printed.clear()
    return found


def test_a_mistake_in_the_config_is_shown_without_its_secrets(life):
    lines = list_lines_with_secrets(life.config.read_text("utf-8"))
    assert len(lines) > 12
    first = [(lines[0], new) for new in list_mistyped(lines[0]).values()]
    others = [(old, list_mistyped(old)["no quotes"]) for old in lines[1:]]
    assert find_leaks_of_mistakes(life, first + others, "config show") == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", list_mistyped('url = "x"'))
def test_no_mistake_in_any_line_of_the_config_shows_a_secret(life, kind):
    mistakes = [(old, list_mistyped(old)[kind]) for old in list_lines_with_secrets(life.config.read_text("utf-8"))]
    lines = ("config show", "check", "rules check", "doctor", "status")
    assert find_leaks_of_mistakes(life, mistakes, *lines) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", ["[network]", "[metrics]", "[channels.slack]", "[providers.claude]", "[[rule]]", "[x]"]
)
def test_a_secret_in_the_wrong_table_is_not_shown(life, place):
    text = life.config.read_text("utf-8")
    lines = [line.partition("  #")[0] for line in list_lines_with_secrets(text)]  # comments of rules are shown
    mistakes = [(text, f"{place}\n{line}\n") for line in lines]
    mistakes += [(text, f"{place}\n{list_mistyped(line)['no quotes']}\n") for line in lines]
    assert find_leaks_of_mistakes(life, mistakes, "config show") == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        'token = ["{AcmeToken}"]',
        'token = ["cmd:acme --password {AcmeToken}"]',
        'token = "{AcmeToken}"',
        'url = "https://me:{AcmeToken}@acme.example/usage"',
        'headers = {{ X-Api-Key = "{AcmeToken}" }}',
        'json = {{ token = "{AcmeToken}" }}',
    ],
)
def test_a_secret_in_the_file_of_a_provider_is_not_shown(life, line):
    path = life.home / "config" / "providers" / "mine.toml"
    line = line.format(**S)
    table = "" if line.startswith("token") else "[[request]]\n"
    for new in [line, *list_mistyped(line).values()]:
        write(path, f'id = "mine"\nname = "Mine"\n{table}{new}\n')
        life.run("providers check", "providers list", "providers test config/providers/mine.toml")
    path.unlink()
    assert life.find_leaks() == []
