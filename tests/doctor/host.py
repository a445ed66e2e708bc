"""A made-up machine for the doctor: a home with logins, a config, a store; nothing of it reaches out."""

import base64
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

from tests.cli.sample_history import NOW
from watcher.core.model import Command, CommandResult
from watcher.core.redaction import Redactor
from watcher.credentials import HostInfo
from watcher.doctor import DoctorContext, Finding
from watcher.doctor.runner import build_context
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import foreign_databases
from watcher.system.clock import Clock
from watcher.system.environment import Environment
from watcher.system.paths import Paths

CONFIG = """
[channels.desktop]
type = "desktop"
[channels.team]
type = "slack"
url = "env:TEAM_URL"
[route]
default = ["desktop"]
critical = ["desktop", "team"]

[[rule]]
name = "session"
when = "claude.five_hour > level"
levels = { warning = "80%", critical = "95%" }
"""
SECRETS = {
    "claude": "sk-ant-oat01-planted-claude-access-0123456789",
    "claude refresh": "sk-ant-ort01-planted-claude-refresh-0123456789",
    "gemini": "ya29.planted-gemini-access-0123456789",
    "gemini refresh": "1//planted-gemini-refresh-0123456789",
    "team": "https://hooks.slack.com/services/T0/B0/planted-slack-0123456789",
    "nano": "planted-nano-gpt-key-0123456789",
    "codex": "planted-codex-access-0123456789",
}
SYSTEMD = "ActiveState=active\nSubState=running\nMainPID=4711\nUnitFileState=enabled\n"


class StoppedClock(Clock):
    """A clock that is stopped."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self):
        return self.at


OPEN_STORES: list[Store] = []
"""What the scenes of a test read; closed at its end."""


class FakeHost:
    """The machine. What a test changes before `context` is what the doctor sees."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.paths = Paths(folder / "config", folder / "state")
        self.paths.config_dir.mkdir(mode=0o700)
        self.clock = StoppedClock()
        self.platform = "linux"
        self.env = {"TEAM_URL": SECRETS["team"], "PATH": "/nowhere"}
        self.said = CommandResult(exit_code=0, stdout=SYSTEMD)
        self.ran: list[Command] = []
        self.clean = Redactor()
        self.config(CONFIG)

    # --- laying out -------------------------------------------------------------------------------------------------

    def config(self, text: str) -> None:
        self.paths.config_file.write_text(text)
        self.paths.config_file.chmod(0o600)

    def sign_in_to_claude(self, *, good_for: timedelta = timedelta(hours=3)) -> Path:
        path = self.home / ".claude" / ".credentials.json"
        path.parent.mkdir()
        entry = {
            "accessToken": SECRETS["claude"],
            "refreshToken": SECRETS["claude refresh"],
            "expiresAt": int((self.clock.at + good_for).timestamp() * 1000),
            "scopes": ["user:inference", "user:profile"],
            "subscriptionType": "max",
        }
        path.write_text(json.dumps({"claudeAiOauth": entry}))
        path.chmod(0o600)
        return path

    def sign_in_to_gemini(self, *, good_for: timedelta = timedelta(hours=1)) -> str:
        payload = json.dumps({"email": "me@work.example", "sub": "123456789012345678901", "aud": "client-1"})
        id_token = f"e30.{base64.urlsafe_b64encode(payload.encode()).decode().rstrip('=')}.c2lnbmF0dXJl"
        path = self.home / ".gemini" / "oauth_creds.json"
        path.parent.mkdir()
        content = {
            "access_token": SECRETS["gemini"],
            "refresh_token": SECRETS["gemini refresh"],
            "id_token": id_token,
            "scope": "openid https://www.googleapis.com/auth/cloud-platform",
            "expiry_date": int((self.clock.at + good_for).timestamp() * 1000),
        }
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return id_token

    def use_state(self, two_day_state: Paths) -> None:
        """The store of a watcher that has run for two days."""
        shutil.copytree(two_day_state.state_dir, self.paths.state_dir)
        self.paths.state_dir.chmod(0o700)

    def store(self) -> Store:
        self.paths.state_dir.mkdir(mode=0o700, exist_ok=True)
        return Store(self.paths.state_dir / DATABASE_FILE_NAME, now=self.clock.at)

    def write(self, work) -> None:
        store = self.store()
        store.run_transaction(lambda: work(store), now=self.clock.at)
        store.close()

    # --- looking ----------------------------------------------------------------------------------------------------

    def run(self, command: Command) -> CommandResult:
        self.ran.append(command)
        if command.argv[0] == "secret-tool":
            return CommandResult(exit_code=None, stderr="secret-tool: not on this machine")
        return self.said

    def environment(self) -> Environment:
        return Environment(
            clock=self.clock,
            send=lambda _request: (_ for _ in ()).throw(AssertionError("the doctor asks nobody")),
            run=self.run,
            read_database=foreign_databases.read_database,
            read_host_info=lambda: HostInfo(
                home=self.home,
                env={
                    **self.env,
                    "WATCHER_CONFIG_DIR": str(self.paths.config_dir),
                    "WATCHER_STATE_DIR": str(self.paths.state_dir),
                },
                platform=self.platform,
                run_command=self.run,
                read_database=foreign_databases.read_database,
            ),
            jitter=lambda: 0.0,
        )

    def context(self) -> DoctorContext:
        context = build_context(self.environment(), self.clean)
        if context.store is not None:
            OPEN_STORES.append(context.store)
        return context


def summarize(findings) -> list[tuple[str, str, str]]:
    """(subject, verdict, message) of each."""
    return [(each.subject, each.verdict.value, each.message) for each in findings]


def one(findings, subject: str) -> Finding:
    (found,) = [each for each in findings if each.subject == subject]
    return found


def root() -> bool:
    return hasattr(os, "getuid") and os.getuid() == 0
