"""Has the mistake been mended that the last reading of the config stumbled over? Asked only where there was one.

The store holds what was said then; the files say what is so now. No program is run for a secret. Never print here.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from watcher import environment
from watcher.config import loader, secrets
from watcher.config.changes import SETTLE_FOR, ConfigFingerprint, fingerprint_config_files
from watcher.core.model import Command, CommandResult
from watcher.errors import ConfigError
from watcher.system.paths import Paths

CHECK_EVERY_S = 30.0


def recheck_config(previous_error: str, failed_at: datetime, paths: Paths) -> str | None:
    """What is wrong with the config at this moment; None where it can be used again.

    Args:
        previous_error: what was wrong with it when it was last read.
        failed_at: when that was.
        paths: where the person's files are.
    """
    around = environment.read_host_info()
    try:
        found = loader.load_config(
            paths, secrets.make_secret_resolver(around.env, around.home, _skip_command), around.home
        )
    except ConfigError as error:
        return str(error)
    except OSError:
        return previous_error
    unseen = any(name.startswith(("channels.", "providers.")) for name in found.broken_channels)
    # a secret that cannot be had from here hides the settings beside it, in which the mistake may still stand
    return previous_error if unseen and _find_last_change(paths) <= failed_at else None


def _skip_command(_command: Command) -> CommandResult:
    return CommandResult(exit_code=127)


def _find_last_change(paths: Paths) -> datetime:
    """When the newest of the files was written, or the folder of rules lost one."""
    written = [modified_ns / 1e9 for _, modified_ns, _ in fingerprint_config_files(paths)]
    folders = [folder.stat().st_mtime for folder in (paths.config_dir, paths.rules_dir) if folder.is_dir()]
    return datetime.fromtimestamp(max([*written, *folders], default=0), UTC)


def wait_for_change(paths: Paths, previous: ConfigFingerprint, wait: Callable[[float], bool]) -> None:
    """Return when the person's files have changed, their modes included, and nobody writes them any more.

    Args:
        paths: where they are.
        previous: how they were, their modes included, before they were read in vain.
        wait: for so many seconds; True where somebody says that it is time.
    """
    seen = previous
    while not wait(CHECK_EVERY_S if seen == previous else SETTLE_FOR.total_seconds()):
        now = fingerprint_config_files(paths, include_modes=True)
        if now == seen != previous:
            return
        seen = now
