"""Writes the manual page from the help texts: `python contrib/man_page.py > docs/watcher.1`."""

import inspect
import sys
from collections.abc import Iterator

import click

from watcher import __version__
from watcher.cli import EXIT_CODES, app


def format_man_page() -> str:
    """All help texts as one manual page, `docs/watcher.1`, in the macros of man(7)."""
    root = click.Context(app.watcher, info_name="watcher")
    subject = (app.watcher.help or "").rstrip(".")
    exit_codes, variables = (
        "".join(f".TP\n.B {left}\n{_escape_roff(right)}\n" for left, right in rows)
        for rows in (EXIT_CODES, app.ENVIRONMENT_VARIABLES)
    )
    return (
        f'.TH WATCHER 1 "" "AI usage watcher {__version__}" "User Commands"\n'
        f".SH NAME\nwatcher \\- {_escape_roff(subject)}\n"
        ".SH SYNOPSIS\n.B watcher\n[OPTIONS] COMMAND [ARGS]...\n"
        f".SH DESCRIPTION\n{_format_roff_text(app.EPILOG)}"
        f".SH COMMANDS\n{''.join(_format_man_entry(context) for context in _walk_commands(root))}"
        f".SH EXIT STATUS\n{exit_codes}.SH ENVIRONMENT\n{variables}"
    )


def _walk_commands(context: click.Context) -> Iterator[click.Context]:
    """The context of every command, those of a group after the group."""
    if not isinstance(context.command, click.Group):
        return
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if command is not None and not command.hidden:
            below = click.Context(command, info_name=name, parent=context)
            yield below
            yield from _walk_commands(below)


def _format_man_entry(context: click.Context) -> str:
    """One command: its usage, its help and its options."""
    words, options = [context.command_path], ""
    for parameter in context.command.params:
        if isinstance(parameter, click.Option):
            value = "" if parameter.is_flag else f" {parameter.metavar or (parameter.name or '').upper()}"
            names = ", ".join((*parameter.opts, *parameter.secondary_opts)) + value
            options += f".TP\n.B {_escape_roff(names)}\n{_escape_roff(parameter.help or '')}\n"
        else:
            words.append(parameter.metavar or (parameter.name or "").upper())
    if isinstance(context.command, click.Group):
        words.append("COMMAND")
    return f".SS {_escape_roff(' '.join(words))}\n{_format_roff_text(context.command.help or '')}{options}"


def _format_roff_text(text: str) -> str:
    """Paragraphs; one that begins with `\\b` keeps its lines, as click's own formatter has it."""
    formatted = ""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = [_escape_roff(line) for line in paragraph.split("\n") if line.strip()]
        if lines and lines[0] == "\b":
            formatted += ".PP\n.nf\n" + "".join(f"{line}\n" for line in lines[1:]) + ".fi\n"
        else:
            formatted += ".PP\n" + "".join(f"{line.strip()}\n" for line in lines)
    return formatted


def _escape_roff(text: str) -> str:
    """Text in which no character is a command of the typesetter."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(format_man_page())
