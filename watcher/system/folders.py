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
    base = ("APPDATA", "AppData/Roaming") if platform == "win32" else ("XDG_CONFIG_HOME", ".config")
    return _find_folder(env, home, "WATCHER_CONFIG_DIR", *base)


def find_state_dir(env: Mapping[str, str], home: str, platform: str = sys.platform) -> str:
    """The folder of the database, the log and `status.json`, by the environment variables."""
    base = ("LOCALAPPDATA", "AppData/Local") if platform == "win32" else ("XDG_STATE_HOME", ".local/state")
    return _find_folder(env, home, "WATCHER_STATE_DIR", *base)


def _find_folder(env: Mapping[str, str], home: str, own_name: str, base_name: str, default: str) -> str:
    """The folder that `own_name` names, else ours in that of `base_name`, else ours in the default below the home."""
    if own := env.get(own_name):
        return os.path.join(os.getcwd(), expand_home(own, home))
    base = env.get(base_name, "")
    # the specification of XDG: a relative path is invalid and must be ignored
    return os.path.join(base if os.path.isabs(base) else os.path.join(home, *default.split("/")), APP_NAME)


def expand_home(text: str, home: str) -> str:
    """The path of a text in which `~` stands for the home folder."""
    return os.path.join(home, text[2:]) if text.startswith(("~/", "~\\")) else home if text == "~" else text
