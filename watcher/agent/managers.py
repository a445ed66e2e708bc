"""Chooses the manager of a platform, and describes the login item of this environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from watcher.agent import PATH_VARIABLES, LoginItem, Manager, launchd, systemd, windows
from watcher.credentials import HostInfo
from watcher.errors import UsageError

MANAGERS: Mapping[str, Manager] = {"darwin": launchd, "linux": systemd, "win32": windows}
"""By `sys.platform`."""

_SESSION_VARIABLES = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


def get_manager(platform: str) -> Manager:
    """The platform's manager; `UsageError` if there is none."""
    if platform not in MANAGERS:
        known = ", ".join(sorted(MANAGERS))
        raise UsageError(
            f"no login item for {platform} (only {known}); start `watcher run` from your session's autostart"
        )
    return MANAGERS[platform]


def make_login_item(host_info: HostInfo, state_dir: Path, executable: str = sys.executable) -> LoginItem:
    """The item that starts this installation at login; relative paths in the environment are below this folder.

    `-P` prevents the daemon's start folder (the home, on Linux) from providing a module named `watcher`; `-OO` drops
    the docstrings, which saves 1.5 MB of memory.
    """
    python, env, user_id = Path(executable), host_info.env, 0
    if sys.platform != "win32":
        user_id = os.getuid()
    if host_info.platform == "win32" and python.name.lower() == "python.exe":
        python = python.with_name("pythonw.exe")  # no console window
    config_home = env.get("XDG_CONFIG_HOME", "")
    return LoginItem(
        argv=(str(python), "-OO", "-P", "-m", "watcher", "run"),
        home=host_info.home,
        state_dir=state_dir,
        config_home=Path(config_home) if config_home.startswith("/") else host_info.home / ".config",
        env={name: str(Path.cwd() / env[name]) for name in PATH_VARIABLES if env.get(name)},
        session_env={name: env[name] for name in _SESSION_VARIABLES if env.get(name)},
        user_id=user_id,
        user="\\".join(filter(None, (env.get("USERDOMAIN"), env.get("USERNAME")))),
    )
