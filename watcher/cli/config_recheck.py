"""Whether the config still has the mistake with which it was last refused, and when its files change."""

from collections.abc import Callable

from watcher import environment
from watcher.config import loader, secrets
from watcher.config.changes import SETTLE_FOR, ConfigFingerprint, fingerprint_config_files
from watcher.core.model import Command, CommandResult
from watcher.errors import ConfigError
from watcher.system.paths import Paths

CHECK_EVERY_S = 30.0


def recheck_config(previous_error: str, paths: Paths) -> str | None:
    """What is wrong with the config now; None where it can be used. No program is run for a secret."""
    around = environment.read_host_info()
    resolve = secrets.make_secret_resolver(around.env, around.home, _skip_command)
    try:
        found = loader.load_config(paths, resolve, around.home)
    except ConfigError as error:
        return str(error)
    except OSError:
        return previous_error
    # a secret that is not available here hides the settings beside it, which may hold the mistake
    hidden = any(name.startswith(("channels.", "providers.")) for name in found.broken_channels)
    return previous_error if hidden else None


def _skip_command(_command: Command) -> CommandResult:
    return CommandResult(exit_code=127)


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
