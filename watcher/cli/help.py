"""`watcher help`: a command's help, or one of the topics that belong to no single command."""

import click

from watcher.cli import COMMANDS, EXIT_CODES
from watcher.cli.app import describe_unknown_command
from watcher.cli.output import get_output_width, wrap_line

TOPICS = ("exit-codes", "environment")

ENVIRONMENT_VARIABLES = (
    ("WATCHER_CONFIG_DIR", "the folder of config.toml and rules/"),
    ("WATCHER_STATE_DIR", "the folder of the database, the log and the lock"),
    ("WATCHER_DEBUG", "1: show the traceback of a defect"),
    ("NO_COLOR", "any value: no colour"),
    ("COLUMNS", "how wide the output is, where the terminal does not say"),
)


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND ... | exit-codes | environment]")
@click.pass_context
def topic(context: click.Context, words: tuple[str, ...]) -> None:
    """Explain a command or a topic.

    \b
    watcher help guard
    watcher help rules check
    watcher help exit-codes
    """
    root = context.find_root()
    if not words:
        click.echo(root.get_help())
    elif words == ("exit-codes",):
        _print_table(tuple((str(code), meaning) for code, meaning in EXIT_CODES))
    elif words == ("environment",):
        _print_table(ENVIRONMENT_VARIABLES)
    else:
        click.echo(_format_command_help(root, words))


def _format_command_help(context: click.Context, words: tuple[str, ...]) -> str:
    for i, word in enumerate(words):
        group = context.command
        names = tuple(group.list_commands(context)) if isinstance(group, click.Group) else ()
        command = group.get_command(context, word) if isinstance(group, click.Group) else None
        if command is None:
            raise click.UsageError(describe_unknown_command(word, names if i else (*COMMANDS, *TOPICS)))
        context = click.Context(command, info_name=word, parent=context)
    return context.get_help()


def _print_table(rows: tuple[tuple[str, str], ...]) -> None:
    wide = max(len(left) for left, _ in rows)
    for left, right in rows:
        for line in wrap_line(f"{left:>{wide}}  {right}", get_output_width(), indent=wide + 2):
            click.echo(line)
