"""The paths of this program's own files, by environment variables; the same on Linux and macOS."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from watcher.system import folders

_CONFLICTED_COPY = re.compile(r"conflicted copy|[.-]sync-conflict-|\(conflict\b", re.IGNORECASE)


class Paths(NamedTuple):
    """The two folders of one installation."""

    config_dir: Path
    state_dir: Path

    @property
    def config_file(self) -> Path:
        """The config; it may be absent."""
        return self.config_dir / "config.toml"

    @property
    def rules_dir(self) -> Path:
        """The folder of rule files; it may be absent."""
        return self.config_dir / "rules"

    @property
    def providers_dir(self) -> Path:
        """The folder of providers by file; it may be absent."""
        return self.config_dir / "providers"

    def list_rule_files(self) -> list[Path]:
        """Every `*.toml` in the folder of rules, as `list_toml_files`."""
        return list_toml_files(self.rules_dir)

    def list_conflicted_copies(self) -> list[Path]:
        """The conflicted copies of a sync tool in the folder of rules."""
        return sorted(path for path in self.rules_dir.glob("*.toml") if _CONFLICTED_COPY.search(path.name))


def list_toml_files(folder: Path) -> list[Path]:
    """Every `*.toml` in a folder, by name, without hidden files (of an editor) and conflicted copies.

    Raises:
        OSError: the folder exists and cannot be read. `glob` would find nothing, which would end every alert.
    """
    try:
        found = list(folder.iterdir())
    except FileNotFoundError:
        return []
    own = (path for path in found if path.suffix == ".toml" and not path.name.startswith("."))
    return sorted(path for path in own if not _CONFLICTED_COPY.search(path.name))


def may_exist(path: Path) -> bool:
    """Whether anything is at that path, also if it cannot be read, such as a dangling link.

    If such a config counted as absent, the default rules would silently replace it.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def find_home() -> Path:
    """The home folder of the user; raises as `folders.find_home`."""
    return Path(folders.find_home())


def resolve_paths(env: Mapping[str, str], home: Path, platform: str = sys.platform) -> Paths:
    """The folders that the environment variables choose."""
    return Paths(
        config_dir=Path(folders.find_config_dir(env, str(home), platform)),
        state_dir=Path(folders.find_state_dir(env, str(home), platform)),
    )


def expand_home(text: str, home: Path) -> Path:
    """The path of a text in which `~` stands for the home folder."""
    return Path(folders.expand_home(text, str(home)))


def abbreviate_home(text: str, home: Path) -> str:
    """The text with `~` for the home folder, whose path may have the user's name."""
    return text if home == Path(home.anchor) else text.replace(f"{home}{os.sep}", f"~{os.sep}")


# --- shipped files --------------------------------------------------------------------------------------------------

_PACKAGE_DIR = Path(__file__).parents[1]


def find_shipped_rules_dir() -> Path:
    """The folder of shipped rule files: inside an installed wheel, or at the top of a source tree."""
    installed = _PACKAGE_DIR / "_rules"
    return installed if installed.is_dir() else _PACKAGE_DIR.parent / "rules"


def find_rule_packs() -> dict[str, Path]:
    """Name -> the file of each shipped pack of rules, by name; the default rules are one of them."""
    return {path.stem: path for path in sorted(find_shipped_rules_dir().glob("*.toml"))}


def read_default_rules() -> tuple[Path, str]:
    """The file that `watcher init` copies, and its text."""
    path = find_shipped_rules_dir() / "default.toml"
    return path, path.read_text("utf-8")
