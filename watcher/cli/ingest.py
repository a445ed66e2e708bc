"""`watcher ingest`: takes readings from other programs, without a request."""

import click

from watcher.cli import ingest_statusline


@click.group()
def ingest() -> None:
    """Take readings from another program's pipe."""


@ingest.command("claude-statusline", short_help="Take Claude Code's status line.")
def claude_statusline() -> None:
    """Read what Claude Code pipes to its status line command; print a status line.

    In ~/.claude/settings.json:

    \b
    "statusLine": {"type": "command",
                   "command": "watcher ingest claude-statusline"}
    """
    ingest_statusline.run_statusline()
