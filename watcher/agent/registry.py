"""The three systems, and the item that belongs to this environment. Add a system here and nowhere else."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from watcher.agent import PATH_VARIABLES, LoginItem, Manager
from watcher.agent.launchd import LAUNCHD
from watcher.agent.systemd import SYSTEMD
from watcher.agent.windows import WINDOWS
from watcher.credentials import HostInfo
from watcher.errors import UsageError

MANAGERS: Mapping[str, Manager] = {"darwin": LAUNCHD, "linux": SYSTEMD, "win32": WINDOWS}
"""By `sys.platform`."""

_SESSION_VARIABLES = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


def get_manager(platform: str) -> Manager:
    """This platform's; `UsageError` where there is none."""
    if platform not in MANAGERS:
        known = ", ".join(sorted(MANAGERS))
        raise UsageError(
            f"no login item for {platform} (only {known}); start `watcher run` from your session's autostart"
        )
    return MANAGERS[platform]


def make_login_item(  # noqa: PLR0913 - all that the machine says, named at the call
    *,
    platform: str,
    executable: str,
    env: Mapping[str, str],
    home: Path,
    base_folder: Path,
    state_dir: Path,
    user_id: int = 0,
    headless: bool = False,
) -> LoginItem:
    """The item that starts this very installation at login; relative paths in `env` are below `base_folder`.

    `-P` keeps the folder that the daemon starts in (the home, on Linux) from supplying a module named `watcher`;
    `-OO` leaves out the docstrings, 1.5 MB for as long as somebody is logged in.
    """
    python = Path(executable)
    if platform == "win32" and python.name.lower() == "python.exe":
        python = python.with_name("pythonw.exe")  # no console window
    config_home = env.get("XDG_CONFIG_HOME", "")
    return LoginItem(
        argv=(str(python), "-OO", "-P", "-m", "watcher", "run"),
        home=home,
        state_dir=state_dir,
        config_home=Path(config_home) if config_home.startswith("/") else home / ".config",
        env={name: str(base_folder / env[name]) for name in PATH_VARIABLES if env.get(name)},
        session_env={name: env[name] for name in _SESSION_VARIABLES if env.get(name)},
        user_id=user_id,
        user="\\".join(filter(None, (env.get("USERDOMAIN"), env.get("USERNAME")))),
        headless=headless,
    )


def make_current_login_item(host_info: HostInfo, state_dir: Path, *, headless: bool) -> LoginItem:
    """The item that starts the program of this very process."""
    return make_login_item(
        platform=host_info.platform,
        executable=sys.executable,
        env=host_info.env,
        home=host_info.home,
        base_folder=Path.cwd(),
        state_dir=state_dir,
        user_id=os.getuid() if hasattr(os, "getuid") else 0,
        headless=headless,
    )
