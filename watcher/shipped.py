"""The rule files that ship with the program. Never put a path of the person's here."""

from pathlib import Path

_PACKAGE_DIR = Path(__file__).parent


def find_shipped_rules_dir() -> Path:
    """The folder of shipped rule files: inside an installed wheel, or at the top of a source tree."""
    installed = _PACKAGE_DIR / "_rules"
    return installed if installed.is_dir() else _PACKAGE_DIR.parent / "rules"


def read_default_rules() -> tuple[Path, str]:
    """The file that `watcher init` copies, and its text."""
    path = find_shipped_rules_dir() / "default.toml"
    return path, path.read_text("utf-8")
