"""Words in; words and an exit code out. One file a command or group, imported only when it is called.

Never put a decision here that the daemon would have to make too.
"""

import sys
from importlib import import_module

import click

from watcher import __version__
from watcher.errors import ConfigError, UsageError, WatcherError

COMMANDS = {
    "init": "watcher.cli.init:init",
    "run": "watcher.cli.run:run",
    "check": "watcher.cli.check:check",
    "status": "watcher.cli.status:status",
    "ingest": "watcher.cli.ingest:ingest",
    "replay": "watcher.cli.replay:replay_command",
}
"""Command name -> module and attribute, in the order in which help shows them."""

EXIT_FIRING = 10
EXIT_UNKNOWN = 20
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_BUSY = 75
EXIT_CONFIG = 78


class LazyGroup(click.Group):
    """A group that imports a command only when it is called, so that each pays for itself alone."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """All commands, in the table's order."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="watcher")
def watcher() -> None:
    """Watch the quotas of AI coding tools, and tell once, at the right moment."""


def main() -> None:
    """The command `watcher`: every error that this program knows becomes one line and its exit code."""
    try:
        watcher.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except WatcherError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_USAGE if isinstance(error, UsageError) else 1)
