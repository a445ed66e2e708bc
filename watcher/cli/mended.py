"""Has the mistake been mended that the last reading of the config stumbled over? Asked only where there was one.

The store holds what was said then; the files say what is so now. No program is run for a secret. Never print here.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from watcher import config, doors, secrets
from watcher.config_stamp import SETTLED, Stamp, stamp
from watcher.core.model import Command, Finished
from watcher.errors import ConfigError
from watcher.paths import Paths

LOOK_EVERY_S = 30.0


def still_wrong(text: str, at: datetime, own: Paths) -> str | None:
    """What is wrong with the config at this moment; None where it can be used again.

    Args:
        text: what was wrong with it when it was last read.
        at: when that was.
        own: where the person's files are.
    """
    around = doors.surroundings()
    try:
        found = config.load(own, secrets.resolver(around.env, around.home, _unasked), around.home)
    except ConfigError as error:
        return str(error)
    except OSError:
        return text
    unseen = any(name.startswith(("channels.", "providers.")) for name in found.broken_channels)
    # a secret that cannot be had from here hides the settings beside it, in which the mistake may still stand
    return text if unseen and _changed_at(own) <= at else None


def _unasked(_command: Command) -> Finished:
    return Finished(exit_code=127)


def _changed_at(own: Paths) -> datetime:
    """When the newest of the files was written, or the folder of rules lost one."""
    written = [modified_ns / 1e9 for _, modified_ns, _ in stamp(own)]
    folders = [folder.stat().st_mtime for folder in (own.config_dir, own.rules_dir) if folder.is_dir()]
    return datetime.fromtimestamp(max([*written, *folders], default=0), UTC)


def await_change(own: Paths, before: Stamp, wait: Callable[[float], bool]) -> None:
    """Return when the person's files have changed, their modes included, and nobody writes them any more.

    Args:
        own: where they are.
        before: how they were, their modes included, before they were read in vain.
        wait: for so many seconds; True where somebody says that it is time.
    """
    seen = before
    while not wait(LOOK_EVERY_S if seen == before else SETTLED.total_seconds()):
        now = stamp(own, of_modes=True)
        if now == seen != before:
            return
        seen = now
