"""The whole program, once under every fault: nothing of another tool is touched, and no login is spent."""

import base64
import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.test_whole_path import ANSWERS, ANTIGRAVITY
from watcher.demo.server import FAULTS, Server, json_reply

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and permissions of POSIX")

PAST = 1_700_000_000_000  # ms
WAITS = {"slow", "drip"}  # what takes its whole time; tests/system has them
SMOKE = ["401", "429", "cut", "good"]
ANSWER_NAMES = [
    *SMOKE,
    *(pytest.param(each, marks=pytest.mark.slow) for each in sorted(set(FAULTS) - WAITS - set(SMOKE))),
]
PROVIDERS = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
WHOAMI = "/api/accounts/v1/user-auth-credential/whoami"
ASKED = {
    "/api/oauth/usage", "/api/oauth/profile", "/api/oauth/account", "/backend-api/wham/usage",
    "/copilot_internal/user", "/user", "/oauth2/v1/userinfo",
    "/api/subscription/v1/usage", "/api/check-balance", "/token", "/v1internal:loadCodeAssist", "/v1/projects",
    "/v1internal:retrieveUserQuota", WHOAMI,
}  # fmt: skip
SPENT_BY_USE = ("sk-ant-ort01", "rt_")  # refresh tokens that work once
EDITOR = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA wal_autocheckpoint=0")
connection.execute("INSERT INTO ItemTable VALUES ('antigravityAuthStatus', ?)", (sys.argv[2],))
print("written", flush=True)
sys.stdin.read()
"""


def jwt(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


FILES = {
    ".local/share/opencode/auth.json": {
        "anthropic": {"type": "oauth", "access": "sk-ant-oat01-a", "refresh": "sk-ant-ort01-a", "expires": PAST},
        "openai": {"type": "oauth", "access": jwt(exp=1), "refresh": "rt_a", "expires": PAST, "accountId": 71},
        "github-copilot": {"type": "oauth", "access": "gho_a", "refresh": "gho_a", "expires": 0},
        "google": {"type": "oauth", "refresh": "1//a|p", "access": "ya29.a", "expires": PAST},
        "nano-gpt": {"type": "api", "key": "fake-nano-key"},
    },
    ".claude/.credentials.json": {
        "claudeAiOauth": {"accessToken": "sk-ant-oat01-b", "refreshToken": "sk-ant-ort01-b", "expiresAt": PAST}
    },
    ".claude.json": {"oauthAccount": {"accountUuid": "uuid-1", "emailAddress": "me@example.com"}},
    ".codex/auth.json": {"tokens": {"refresh_token": "rt_b"}, "personal_access_token": "fake-personal-token"},
    ".config/github-copilot/apps.json": {"github.com:Iv1": {"user": "octocat", "oauth_token": "gho_b"}},
    ".config/gh/hosts.yml": "github.com:\n    user: octocat\n    oauth_token: gho_c\n",
    ".gemini/oauth_creds.json": {
        "access_token": "ya29.b", "refresh_token": "1//b", "expiry_date": PAST, "id_token": jwt(email="b@example.com"),
    },
    ".config/opencode/antigravity-accounts.json": {
        "version": 4,
        "accounts": [{"email": "user@example.com", "refreshToken": "1//c", "projectId": "p"}],
    },
    ".config/opencode/opencode-anthropic-auth/accounts.json": {
        "accounts": [{"id": "x", "access": "sk-ant-oat01-c", "refresh": "sk-ant-ort01-c", "expires": PAST}]
    },
    ".config/opencode/opencode-anthropic-auth/codex-accounts.json": {
        "accounts": [{"accountID": "ws-3", "refresh": "rt_d", "usage": {"primary": {"utilization": 5}}}]
    },
    ".opencode/auth/openai.json": {"type": "oauth", "access": "a.b.d", "refresh": "rt_e", "accountId": "ws-3"},
    ".opencode/openai-codex-accounts.json": {
        "accounts": [{"accountId": "ws-3", "accessToken": "a.b.c", "refreshToken": "rt_c", "expiresAt": PAST}]
    },
}  # fmt: skip


KEYS_ALONE = {
    ".local/share/opencode/auth.json": {"openai": {"type": "api", "key": "sk-clb-fake-a"}},
    ".config/opencode/opencode.json": {"provider": {"openai": {"options": {"baseURL": "http://proxy.invalid/v1"}}}},
    ".codex/auth.json": {"OPENAI_API_KEY": "sk-clb-fake-b", "tokens": None},
    ".codex/config.toml": 'chatgpt_base_url = "http://proxy.invalid"\n',
}


def write(home: Path, files) -> None:
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(0o600)


@pytest.fixture
def home(tmp_path):
    """A home with every place filled, and Antigravity running."""
    home = tmp_path / "home"
    write(home, FILES)
    opencode = sqlite3.connect(home / ".local/share/opencode/opencode.db")
    opencode.execute("CREATE TABLE credential (integration_id TEXT, value TEXT)")
    opencode.commit()
    opencode.close()
    database = home / ".config/Antigravity/User/globalStorage/state.vscdb"
    database.parent.mkdir(parents=True)
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE ItemTable (key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
    connection.commit()
    connection.close()
    login = json.dumps({"email": "user@example.com", "userStatusProtoBinaryBase64": ANTIGRAVITY})
    argv = [sys.executable, "-c", EDITOR, str(database), login]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as editor:
        assert editor.stdout.readline() == "written\n"
        yield home
        editor.kill()


def state_of(home: Path) -> dict[Path, object]:
    """Names, contents, times of change and permissions of all that is there."""

    def facts(path: Path) -> object:
        about = path.stat()
        changed_ns = 0 if path.suffix.endswith(("-wal", "-shm")) else about.st_ctime_ns  # SQLite chowns them for root
        return about.st_mtime_ns, changed_ns, about.st_mode, path.read_bytes() if path.is_file() else None

    return {path: facts(path) for path in [home, *home.rglob("*")]}


def run(home: Path, url: str, proxy: str, *words: str) -> subprocess.CompletedProcess[str]:
    own = home.parent / "own"
    own.mkdir(exist_ok=True)
    tables = "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in PROVIDERS)
    channel = f'[channels.hook]\ntype = "webhook"\nurl = "{url}/hook"\n[route]\ndefault = ["hook"]\n'
    (own / "config.toml").write_text(tables + channel)
    (own / "config.toml").chmod(0o600)
    env = {
        "HOME": str(home), "PATH": os.environ["PATH"], "WATCHER_CONFIG_DIR": str(own), "WATCHER_STATE_DIR": str(own),
        "GEMINI_CLIENT_ID": "client", "GEMINI_CLIENT_SECRET": "fake-client-secret", "PYTHONDONTWRITEBYTECODE": "1",
        "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "",
    }  # fmt: skip
    argv = [sys.executable, "-m", "watcher", *words]
    return subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("answer_name", ANSWER_NAMES)
def test_no_answer_makes_the_program_touch_a_file_or_spend_a_login(home, answer_name):
    before = state_of(home)
    with (
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        Server(lambda asked: json_reply(ANSWERS.get(asked.path, {}), 200 if asked.path in ANSWERS else 404)) as server,
    ):
        for path in ASKED if answer_name != "good" else ():
            server.queue_fault(path, answer_name, times=99)
        proxy = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        done = run(home, server.url, proxy, "check")
        shown = json.loads(run(home, server.url, proxy, "status", "--json").stdout)["providers"]
        elsewhere.setblocking(False)  # noqa: FBT003 - the library's own
        with pytest.raises(BlockingIOError):  # whatever goes to another host would have come by here
            elsewhere.accept()
    assert state_of(home) == before
    assert "Traceback" not in done.stderr + done.stdout
    assert {asked.path for asked in server.requests} <= {*ASKED, "/hook"}
    assert answer_name != "good" or [asked.path for asked in server.requests].count(WHOAMI) == 1
    for asked in server.requests:
        sent = f"{asked.path} {asked.headers} {asked.body!r}"
        assert not any(secret in sent for secret in SPENT_BY_USE), sent
        assert asked.method == "GET" or asked.path not in (WHOAMI, "/backend-api/wham/usage")
        assert asked.path != "/token" or b"refresh_token=1%2F%2F" in asked.body
    assert {each["provider"] for each in shown} == set(PROVIDERS)
    for each in shown:
        if each["provider"] == "antigravity" or answer_name == "good":
            assert each["ok"], each
        else:
            assert each["ok"] is False
            assert each["error"]["message"].isprintable()


@pytest.mark.parametrize("answer_name", ["401", "429", "object", "cut", "good"])
def test_a_home_with_api_keys_alone_is_left_as_it_is(tmp_path, answer_name):
    home = tmp_path / "home"
    write(home, KEYS_ALONE)
    before = state_of(home)
    limit = {"limit_type": "credits", "limit_window": "5h", "max_value": 100, "current_value": 25}
    with (
        socket.create_server(("127.0.0.1", 0)) as elsewhere,
        Server(lambda asked: json_reply({"limits": [limit]} if asked.path == "/v1/usage" else {})) as server,
    ):
        if answer_name != "good":
            server.queue_fault("/v1/usage", answer_name, times=99)
        proxy = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        done = run(home, server.url, proxy, "check")
        shown = json.loads(run(home, server.url, proxy, "status", "--json").stdout)["providers"]
        elsewhere.setblocking(False)  # noqa: FBT003 - the library's own
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert state_of(home) == before
    assert "Traceback" not in done.stderr + done.stdout
    asked = [each for each in server.requests if each.path != "/hook"]
    assert {(each.method, each.path) for each in asked} == {("GET", "/v1/usage")}
    assert {each.headers["authorization"] for each in asked} == {"Bearer sk-clb-fake-a", "Bearer sk-clb-fake-b"}
    assert [each["ok"] for each in shown if each["provider"] == "codex"] == [answer_name == "good"] * 2
    assert "sk-clb" not in done.stderr + done.stdout
