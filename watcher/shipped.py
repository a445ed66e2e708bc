"""The rule files that ship with the program. Never put a path of the person's here."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def rules_dir() -> Path:
    """The folder of shipped rule files: inside an installed wheel, or at the top of a source tree."""
    installed = _PACKAGE / "_rules"
    return installed if installed.is_dir() else _PACKAGE.parent / "rules"


def default_rules() -> tuple[Path, str]:
    """The file that `watcher init` copies, and its text."""
    path = rules_dir() / "default.toml"
    return path, path.read_text("utf-8")
