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
from watcher.doctor.context import build_context
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


class Fixed(Clock):
    """A clock that stands."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self):
        return self.at


OPENED: list[Store] = []
"""What the scenes of a test read; closed at its end."""


class Ward:
    """The machine. What a test changes before `scene` is what the doctor sees."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.own = Paths(folder / "config", folder / "state")
        self.own.config_dir.mkdir(mode=0o700)
        self.clock = Fixed()
        self.platform = "linux"
        self.env = {"TEAM_URL": SECRETS["team"], "PATH": "/nowhere"}
        self.said = CommandResult(exit_code=0, stdout=SYSTEMD)
        self.ran: list[Command] = []
        self.clean = Redactor()
        self.config(CONFIG)

    # --- laying out -------------------------------------------------------------------------------------------------

    def config(self, text: str) -> None:
        self.own.config_file.write_text(text)
        self.own.config_file.chmod(0o600)

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

    def lived(self, two_days: Paths) -> None:
        """The store of a watcher that has run for two days."""
        shutil.copytree(two_days.state_dir, self.own.state_dir)
        self.own.state_dir.chmod(0o700)

    def store(self) -> Store:
        self.own.state_dir.mkdir(mode=0o700, exist_ok=True)
        return Store(self.own.state_dir / DATABASE_FILE_NAME, now=self.clock.at)

    def write(self, work) -> None:
        store = self.store()
        store.run_transaction(lambda: work(store), now=self.clock.at)
        store.close()

    # --- looking ----------------------------------------------------------------------------------------------------

    def run(self, command: Command) -> CommandResult:
        self.ran.append(command)
        return self.said

    def doors(self) -> Environment:
        return Environment(
            clock=self.clock,
            send=lambda _request: (_ for _ in ()).throw(AssertionError("the doctor asks nobody")),
            run=self.run,
            read_database=foreign_databases.read_database,
            read_host_info=lambda: HostInfo(
                home=self.home,
                env={
                    **self.env,
                    "WATCHER_CONFIG_DIR": str(self.own.config_dir),
                    "WATCHER_STATE_DIR": str(self.own.state_dir),
                },
                platform=self.platform,
                run_command=self.run,
                read_database=foreign_databases.read_database,
            ),
            jitter=lambda: 0.0,
        )

    def scene(self) -> DoctorContext:
        scene = build_context(self.doors(), self.clean)
        if scene.store is not None:
            OPENED.append(scene.store)
        return scene


def told(findings) -> list[tuple[str, str, str]]:
    """(subject, verdict, message) of each."""
    return [(each.subject, each.verdict.value, each.message) for each in findings]


def one(findings, subject: str) -> Finding:
    (found,) = [each for each in findings if each.subject == subject]
    return found


def root() -> bool:
    return hasattr(os, "getuid") and os.getuid() == 0
