"""The folders of one installation, as text; a status line loads no `pathlib` or `typing`."""

import os
import sys
from collections.abc import Mapping

from watcher.errors import ConfigError

APP_NAME = "ai-usage-watcher"


def find_home() -> str:
    """The home folder of the user.

    Raises:
        ConfigError: neither the environment nor the system knows one.
    """
    home = os.path.expanduser("~")
    if home.startswith("~"):
        name = "USERPROFILE" if sys.platform == "win32" else "HOME"
        raise ConfigError(f"no home folder is known for this user: set {name} to it")
    return home


def find_config_dir(env: Mapping[str, str], home: str, platform: str = sys.platform) -> str:
    """The folder of the config and the rules, by the environment variables."""
    if own := env.get("WATCHER_CONFIG_DIR"):
        return _make_absolute(own, home)
    if platform == "win32":
        default = os.path.join(home, "AppData", "Roaming")
        return os.path.join(_windows_folder(env.get("APPDATA"), default, roaming=True), APP_NAME)
    return os.path.join(_xdg_folder(env.get("XDG_CONFIG_HOME"), os.path.join(home, ".config")), APP_NAME)


def find_state_dir(env: Mapping[str, str], home: str, platform: str = sys.platform) -> str:
    """The folder of the database, the log and `status.json`, by the environment variables."""
    if own := env.get("WATCHER_STATE_DIR"):
        return _make_absolute(own, home)
    if platform == "win32":
        default = os.path.join(home, "AppData", "Local")
        return os.path.join(_windows_folder(env.get("LOCALAPPDATA"), default, roaming=False), APP_NAME)
    return os.path.join(_xdg_folder(env.get("XDG_STATE_HOME"), os.path.join(home, ".local", "state")), APP_NAME)


def _windows_folder(configured: str | None, default: str, *, roaming: bool) -> str:
    """The folder of the environment variable; where it is not set, as under a scheduler, the one Windows knows."""
    if configured:
        return configured
    if sys.platform == "win32":
        import platformdirs  # noqa: PLC0415 - heavy for a path that is hardly ever taken

        return platformdirs.user_data_dir(appname=None, appauthor=False, roaming=roaming)
    else:  # noqa: RET505 - mypy calls a line after it unreachable on Windows
        return default  # a test on another system


def _xdg_folder(configured: str | None, default: str) -> str:
    # the specification: a relative path is invalid and must be ignored
    return configured if configured and os.path.isabs(configured) else default


def _make_absolute(text: str, home: str) -> str:
    path = expand_home(text, home)
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)


def expand_home(text: str, home: str) -> str:
    """The path of a text in which `~` stands for the home folder."""
    return os.path.join(home, text[2:]) if text.startswith(("~/", "~\\")) else home if text == "~" else text
