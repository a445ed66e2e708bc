"""Distinct secrets in every place where one can be; success and every fault; then all that came out is searched.

The far side is as indiscreet as can be: its refusals quote the whole request back. What it may see is that request;
what it is told (the messages) is searched like everything else.
"""

import base64
import json
import os
import sys
from contextlib import closing, suppress
from datetime import timedelta

import pytest
from loguru import logger
from msgspec import structs

from watcher.cli import app
from watcher.core.redaction import Redactor
from watcher.daemon import Daemon
from watcher.delivery import dispatcher
from watcher.demo.responses import ENDPOINTS
from watcher.demo.scenario import SimulatedDay
from watcher.demo.server import FAULTS, Reply, Server, json_reply
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock, environment, http, paths
from watcher.system import log as logs

NOON = SimulatedDay().starts_at + timedelta(hours=4)
CHANNEL_PATHS = ("/services/", "/api/v10/webhooks/", "/hook/", "/ntfy")


def planted(name):
    return f"planted{name}5c1f9e"


SENT = {  # what a request must carry: a test in which it is not used would prove nothing
    name: planted(name)
    for name in (
        "ClaudeAccess", "ClaudeCodeAccess", "CodexAccess", "CopilotAccess", "NanoKey", "GoogleRefresh",
        "GoogleClientSecret", "SlackPath", "DiscordToken", "HookPath", "HookHeader", "NtfyToken",
    )
}  # fmt: skip
NEVER_SENT = {  # logins are sacred: these are single-use, or sign the message and stay at home
    name: planted(name)
    for name in ("ClaudeRefresh", "ClaudeCodeRefresh", "CodexRefresh", "CopilotRefresh", "HookSecret")
}
IN_PROCESSES = {name: planted(name) for name in ("CommandArgument", "ApprisePath")}  # channels that are programs
IN_ADDRESSES = {name: planted(name) for name in ("BaseUrlPassword", "NtfyPassword")}  # sent encoded
IN_COMMENTS = {name: planted(name) for name in ("OldHook", "OldToken", "NearbyNote")}
SECRETS = SENT | NEVER_SENT | IN_PROCESSES | IN_ADDRESSES | IN_COMMENTS
ENCODED = {name: base64.b64encode(f"me:{secret}".encode()).decode() for name, secret in IN_ADDRESSES.items()}

CONFIG = """\
[poll]
hints = false
{providers}
[channels.slack]  # {NearbyNote}
type = "slack"  # {OldToken}
url = "{url}/services/T0/B0/{SlackPath}"  # {OldHook}
[channels.discord]
type = "discord"
url = "env:DISCORD_URL"
[channels.hook]
type = "webhook"
url = "file:~/hook-url"
secret = "cmd:printf %s {HookSecret}"
headers = {{ Authorization = "Bearer {HookHeader}" }}
[channels.ntfy]
type = "ntfy"
topic = "alerts"
server = "{url}/ntfy"
token = "env:NTFY_TOKEN"
[channels.private]
type = "ntfy"
topic = "alerts"
server = "{private}/ntfy"
[route]
default = ["slack", "discord", "hook", "ntfy", "private"]
[[rule]]
name = "full"
when = "*.used_percent > 1%"
[[rule]]
name = "blind"
when = "not *.up"
message = "{{provider}}: {{error}}"
"""


class Noon(clock.Clock):
    """Always the same instant of the simulated day."""

    def now(self):
        return NOON


class Far:
    """All providers and all channels on one port, and what to answer."""

    def __init__(self):
        self.fault = None  # a status, a name of `FAULTS`, or None
        self.of_channels = True
        self.messages = []

    def __call__(self, asked):
        is_channel = asked.path.startswith(CHANNEL_PATHS)
        if is_channel:
            self.messages.append(asked.body)
        if self.fault is not None and is_channel is self.of_channels:
            return self.indiscreet(asked)
        if is_channel:
            return Reply(body=b"ok")
        endpoint = ENDPOINTS.get((asked.method, asked.path))
        return json_reply(endpoint(SimulatedDay().usage_at(NOON), NOON)) if endpoint else json_reply({}, 404)

    def indiscreet(self, asked):
        quoted = json.dumps([asked.method, asked.path, asked.query, dict(asked.headers), asked.body.decode()]).encode()
        if isinstance(self.fault, int):
            headers = {"location": f"https://elsewhere.invalid{asked.path}", "x-quoted": quoted.decode()}
            return Reply(status=self.fault, headers=headers, body=quoted)
        return structs.replace(FAULTS[self.fault], headers={"x-quoted": quoted.decode()})


def lay_out(home, url):
    files = {
        ".local/share/opencode/auth.json": {
            "anthropic": {
                "type": "oauth",
                "access": SECRETS["ClaudeAccess"],
                "refresh": SECRETS["ClaudeRefresh"],
                "expires": 4102444800000,
            },
            "openai": {
                "type": "oauth",
                "access": SECRETS["CodexAccess"],
                "refresh": SECRETS["CodexRefresh"],
                "expires": 4102444800000,
                "accountId": "account-1",
            },
            "github-copilot": {
                "type": "oauth",
                "access": SECRETS["CopilotAccess"],
                "refresh": SECRETS["CopilotAccess"],
                "enterprise": SECRETS["CopilotRefresh"],
                "expires": 0,
            },
            "nano-gpt": {"type": "api", "key": SECRETS["NanoKey"]},
        },
        ".claude/.credentials.json": {
            "claudeAiOauth": {
                "accessToken": SECRETS["ClaudeCodeAccess"],
                "refreshToken": SECRETS["ClaudeCodeRefresh"],
                "expiresAt": 4102444800000,
                "scopes": ["user:inference", "user:profile"],
            }
        },
        ".config/opencode/antigravity-accounts.json": {
            "version": 3,
            "accounts": [
                {
                    "email": "me@example.com",
                    "refreshToken": SECRETS["GoogleRefresh"],
                    "projectId": "project-1",
                    "enabled": True,
                }
            ],
            "activeIndex": 0,
        },
    }
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        path.chmod(0o600)
    (home / "hook-url").write_text(f"{url}/hook/{SECRETS['HookPath']}\n")
    names = ("claude", "codex", "copilot", "nano_gpt")
    providers = "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in names)
    behind = url.replace("://", f"://me:{SECRETS['BaseUrlPassword']}@")
    providers += f'[providers.gemini_cli]\nbase_url = "{behind}"\n'
    private = url.replace("://", f"://me:{SECRETS['NtfyPassword']}@")
    config = home / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(CONFIG.format(url=url, private=private, providers=providers, **SECRETS))
    config.chmod(0o600)


@pytest.fixture
def far():
    ours = Far()
    with Server(ours) as server:
        ours.server = server
        yield ours


@pytest.fixture
def home(tmp_path, monkeypatch, far):
    lay_out(tmp_path, far.server.url)
    for name in list(os.environ):
        if name.startswith(("XDG_", "CLAUDE", "CODEX", "NANO", "GEMINI", "GITHUB", "GH_", "COPILOT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("DISCORD_URL", f"{far.server.url}/api/webhooks/123/{SECRETS['DiscordToken']}")
    monkeypatch.setenv("NTFY_TOKEN", SECRETS["NtfyToken"])
    monkeypatch.setenv("GEMINI_CLIENT_ID", "client-1")
    monkeypatch.setenv("GEMINI_CLIENT_SECRET", SECRETS["GoogleClientSecret"])
    monkeypatch.setattr(dispatcher, "_DEFAULT_SPACING", timedelta(0))
    monkeypatch.setattr(dispatcher, "CHANNEL_SPACING", {})
    yield tmp_path
    logger.remove()


def send(request):
    """As the daemon does, at noon and in a hurry."""
    return http.send_request(structs.replace(request, timeout_s=min(request.timeout_s, 1.0)), now=lambda: NOON)


def once(home, **changes):
    """One round of the daemon: poll, judge, deliver; logged as `watcher run --verbose` does."""
    real = structs.replace(environment.create_environment(), clock=Noon(), **({"send": send} | changes))
    own = paths.resolve_paths(os.environ, home)
    redactor = Redactor()
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=NOON)
    log = logs.FileLog(own.state_dir, redactor, verbose=True)
    with closing(store):
        Daemon(paths=own, environment=real, store=store, log=log, redactor=redactor).run_once()


INSIGHT = (
    *(["doctor"], ["doctor", "--json"], ["doctor", "--provider", "claude"]),
    *(["history"], ["history", "--json"], ["history", "--csv"], ["history", "--plot"], ["report", "-o", "-"]),
    *(["config", "show"], ["config", "show", "--json"], ["guard", "claude.five_hour > 1%"], ["init"]),
    *(["rules", "list"], ["rules", "check"], ["rules", "explain", "full"], ["agent", "print"], ["agent", "status"]),
)


def commands(*more):
    for args in (["status"], ["status", "--json"], ["snooze"], ["config", "path"], *INSIGHT, *more):
        with suppress(SystemExit):
            app.run(args)


def everything(home, far, capsys):
    """All that came out, by where: what was printed, every file of the state folder, every message."""
    printed = capsys.readouterr()
    found = {"stdout": printed.out.encode(), "stderr": printed.err.encode()}
    found |= {str(path.relative_to(home)): path.read_bytes() for path in (home / "state").rglob("*") if path.is_file()}
    return found | {f"message {number}": body for number, body in enumerate(far.messages)}


def leaks(found):
    hidden = [*SECRETS.items(), *ENCODED.items()]
    return [(name, where) for where, text in found.items() for name, secret in hidden if secret.encode() in text]


def test_success_leaks_no_secret_and_uses_those_it_must(home, far, capsys):
    once(home)
    commands(["notify", "test"])
    found = everything(home, far, capsys)
    assert leaks(found) == []
    assert b"full" in found[f"state/{DATABASE_FILE_NAME}"] + found.get(f"state/{DATABASE_FILE_NAME}-wal", b"")
    assert far.messages
    asked = json.dumps(
        [[each.path, each.query, dict(each.headers), each.body.decode()] for each in far.server.requests]
    )
    assert [name for name, secret in SENT.items() if secret not in asked] == []
    assert [name for name, secret in (NEVER_SENT | IN_COMMENTS).items() if secret in asked] == []
    assert [name for name, secret in ENCODED.items() if secret not in asked] == []


@pytest.mark.parametrize("of_channels", [True, False], ids=["channels", "providers"])
@pytest.mark.parametrize(
    "fault",
    [
        *(401, 429, "html", "reset"),
        *(
            pytest.param(fault, marks=pytest.mark.slow)
            for fault in (302, 400, 403, 404, 410, 500, "torn json", "bad gzip", "huge", "deep", "cut")
        ),
    ],
)
def test_no_fault_leaks_a_secret(home, far, capsys, fault, of_channels):
    far.fault, far.of_channels = fault, of_channels
    once(home)
    once(home)
    commands(["notify", "test"])
    found = everything(home, far, capsys)
    assert leaks(found) == []
    assert far.messages


def test_servers_that_never_answer_leak_no_secret(home, far, capsys):
    def hurried(request):
        return send(structs.replace(request, timeout_s=0.2))

    far.fault = "slow"
    for far.of_channels in (True, False):
        once(home, send=hurried)
    commands()
    assert leaks(everything(home, far, capsys)) == []


def test_a_defect_leaks_no_secret(home, far, capsys):
    """An exception that nobody foresaw holds the whole request; its traceback goes to the log."""

    def broken(request):
        raise RuntimeError(repr((request.url, dict(request.headers), request.form, request.json)))

    once(home, send=broken)
    once(home)
    once(home, send=broken)
    commands()
    assert leaks(everything(home, far, capsys)) == []


def test_a_crash_of_the_loop_is_logged_without_secrets(home, far, capsys):
    redactor = Redactor()
    redactor.add_secrets(SECRETS.values())
    (home / "state").mkdir()
    log = logs.FileLog(home / "state", redactor, json_lines=True)
    log.report_error("here", RuntimeError(" ".join(SECRETS.values())))
    found = everything(home, far, capsys)
    assert leaks(found) == []
    assert b"RuntimeError" in found["state/watcher.log"]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('# {OldToken}\nurl = "http', '# {OldToken}\nurl = "ftp'),  # no web address
        ("# {OldToken}\nurl", "# {OldToken}\nulr"),  # a mistyped key
        ('type = "slack"', 'type = "slak"'),  # an unknown type
        ('{SlackPath}"', "{SlackPath}"),  # a string that does not end
        ("Bearer {HookHeader}", "Bearer {HookHeader}\\n"),  # a value that no header can hold
        ("{HookSecret}", "{HookSecret}; exit 3"),  # a command that fails
        ('type = "slack"  # {OldToken}', 'type = "slak"  # {OldToken}'),  # a mistake beside a comment
        ("[channels.slack]  # {NearbyNote}", "[channels.slack] x  # {NearbyNote}"),
        ('base_url = "http://me:{BaseUrlPassword}', 'base_url = "ftp://me:{BaseUrlPassword}'),
        ('base_url = "http://me:{BaseUrlPassword}', 'base_ulr = "http://me:{BaseUrlPassword}'),
        ('server = "http://me:{NtfyPassword}', 'server = "ftp://me:{NtfyPassword}'),
        ('server = "http://me:{NtfyPassword}', 'server = "http://me:{NtfyPassword}@ '),
    ],
)
def test_a_mistake_in_the_config_is_shown_without_its_secrets(home, far, capsys, good, bad):
    path = home / "config" / "config.toml"
    text = path.read_text()
    good, bad = (each.replace("{", "").replace("}", "") for each in (good, bad))
    for name, secret in SECRETS.items():
        good, bad = good.replace(name, secret), bad.replace(name, secret)
    assert good in text
    path.write_text(text.replace(good, bad))
    commands(["check"], ["rules", "check"], ["notify", "test"])
    found = everything(home, far, capsys)
    assert leaks(found) == []
    assert found["stderr"]


def test_nothing_of_a_secret_is_on_a_command_line_or_in_the_environment_of_a_command(home, far, capsys):
    text = (home / "config" / "config.toml").read_text()
    spy = home / "spy"
    spy.write_text(f"#!{sys.executable}\nimport os, sys\nopen({str(home / 'state' / 'spied')!r}, 'w').write(\n"
                   "    repr((sys.argv, dict(os.environ), sys.stdin.read())))\n")  # fmt: skip
    spy.chmod(0o700)
    route = '[route]\ndefault = ["slack", "discord", "hook", "ntfy", "private"]\n'
    spied = f'[channels.spy]\ntype = "command"\nargv = ["{spy}"]\n[route]\ndefault = ["spy"]\n'
    (home / "config" / "config.toml").write_text(text.replace(route, spied))
    once(home)
    found = everything(home, far, capsys)
    assert b"WATCHER_" in found["state/spied"]
    assert leaks(found) == []
