"""The command line: one module a command or group, imported only when it is called.

Start with `app`, the group of all commands and their errors. `context` has the user's config, rules and store,
`output` and `status_text` what is printed, `charts` the pictures. This module dispatches a command line, and runs
before everything else: commands that run many times a minute never import click.
"""

import os
import sys
from importlib import import_module
from types import ModuleType

from watcher.system.clock import replace_invalid_time_zone

COMMANDS = {
    "init": ("watcher.cli.init:init", "Look for logins, write the config and the default rules."),
    "run": ("watcher.cli.run:run", "Watch from now on, in the foreground."),
    "check": ("watcher.cli.check:check", "Poll once, evaluate once, send what is due."),
    "status": ("watcher.cli.status:status", "Show what is known now: usage, resets, alerts, problems."),
    "guard": ("watcher.cli.guard:guard", "Ask whether EXPRESSION holds now."),
    "wait": ("watcher.cli.wait:wait", "Return when CONDITION holds."),
    "best": ("watcher.cli.best:best", "Print the provider or account with the most room."),
    "rules": ("watcher.cli.rules:rules", "Check, list, test, explain, add, edit and disable rules."),
    "replay": ("watcher.cli.replay:replay_command", "What rules would have done with a history."),
    "dashboard": ("watcher.cli.dashboard:dashboard", "Open a live page in the browser."),
    "history": ("watcher.cli.history:history", "Show usage over time as a table or a picture."),
    "report": ("watcher.cli.report:report", "Write one HTML page about the last days."),
    "metrics": ("watcher.cli.metrics:metrics", "Print what is exported for Prometheus."),
    "providers": ("watcher.cli.providers:providers", "List every provider; check and test one as a file."),
    "doctor": ("watcher.cli.doctor:doctor", "Check everything, and say how to fix it."),
    "config": ("watcher.cli.config:config", "The config in force, its files, its schema; edit it."),
    "snooze": ("watcher.cli.snooze:snooze", "Hold back a rule or a series for a while."),
    "unsnooze": ("watcher.cli.snooze:unsnooze", "End a snooze."),
    "channels": ("watcher.cli.notify:channels", "Add a channel."),
    "notify": ("watcher.cli.notify:notify", "Test the channels."),
    "ingest": ("watcher.cli.ingest:ingest", "Take readings from another program's pipe."),
    "agent": ("watcher.cli.agent:agent", "Watch from every login on: the login item."),
    "logs": ("watcher.cli.agent:logs", "Print the end of the daemon's log."),
    "demo": ("watcher.cli.demo:demo", "Watch a simulated day go by, in about a minute."),
    "completion": ("watcher.cli.completion:completion", "Print or install the completion script of a shell."),
    "uninstall": ("watcher.cli.agent:uninstall_everything", "Remove the login item, and with --purge all files."),
    "help": ("watcher.cli.app:help_command", "Explain a command or a topic."),
}
"""Command name -> module and attribute, and its line in the list of commands; in the order of the help."""

EXIT_FIRING = 10
EXIT_UNKNOWN = 20
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_SOFTWARE = 70
EXIT_BUSY = 75
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130

EXIT_CODES = (
    (0, "done; `check`: nothing fires; `guard`: true; `status`: always, when there is something to print to"),
    (1, "something could not be done, and one line says what; `guard`: false; `doctor`, `rules test`: a check failed"),
    (EXIT_FIRING, "`check`: an alert fires"),
    (EXIT_UNKNOWN, "`check`: nothing fires, but some provider gave no reading"),
    (EXIT_USAGE, "the command line is invalid; `guard`: or the expression"),
    (
        EXIT_UNAVAILABLE,
        "`guard`: unknown, because there is no reading fresh enough; elsewhere: nothing was ever read here",
    ),
    (EXIT_SOFTWARE, "a defect of this program: one line says where, -v shows the traceback"),
    (EXIT_BUSY, "`run`: a watcher is running already"),
    (
        EXIT_CONFIG,
        "the config, a rule file or a provider's file has a mistake, with its line; or the database has a newer format",
    ),
    (EXIT_INTERRUPTED, "interrupted with Ctrl-C"),
)
"""Every exit code and what it means: the table of `watcher help exit-codes`."""


BAR_FORMATS = ("line", "tmux", "waybar", "swiftbar", "i3blocks", "sketchybar", "starship")
"""Forms of `status --format`."""


def main() -> None:
    """The command `watcher`."""
    warning = replace_invalid_time_zone()
    if warning is not None and sys.stderr is not None:  # pythonw has none
        sys.stderr.write(f"watcher: {warning}\n")
    try:
        try:
            code = dispatch(sys.argv[1:])
        except KeyboardInterrupt:  # while a command was still loading, or in one without click
            code = EXIT_INTERRUPTED
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # a closed pipe shows here, where it can still be caught
    except OSError as error:  # in a command without click
        from watcher.cli import app  # noqa: PLC0415 - click

        if not app.is_output_error(error):
            raise
        code = 1
    os._exit(code)  # all is written and closed; to clear every module from memory is a tenth of a command's time


def dispatch(args: list[str]) -> int:
    """Run a command line and return its exit code. What runs many times a minute runs without click."""
    words = [part for word in args for part in word.split("=", 1)]
    if words[:2] == ["status", "--format"] and len(words) == 3 and words[2] in BAR_FORMATS:  # noqa: PLR2004 - a bar's command line
        from watcher.cli import status_bar  # noqa: PLC0415 - without click

        return status_bar.print_status_line(words[2])
    if args == ["ingest", "claude-statusline"]:
        from watcher.cli import ingest_statusline  # noqa: PLC0415 - likewise

        return ingest_statusline.run_statusline()
    if args == ["run"]:
        return _run_daemon()
    from watcher.cli import app  # noqa: PLC0415 - click

    return app.run(args)


def _run_daemon() -> int:
    """`watcher run` as a login item starts it: without click, to save memory."""
    ignore_reload_signal()
    try:
        import_service().run_daemon()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place that can explain a defect
        from watcher.cli import app  # noqa: PLC0415 - likewise

        return app.report_error(error, ["run"])
    return 0


def import_service() -> ModuleType:
    """`watcher.cli.service` without OpenSSL, which takes 4 MB: Python has the digests that the daemon needs."""
    from importlib.util import find_spec  # noqa: PLC0415 - only for `run`

    from watcher.system.lazy_imports import suppress_imports  # noqa: PLC0415 - likewise

    has_digests = find_spec("_sha2") or find_spec("_sha256")  # Fedora leaves them to OpenSSL
    with suppress_imports(missing=("_hashlib",) if has_digests else ()):
        return import_module("watcher.cli.service")


def ignore_reload_signal() -> None:
    """A SIGHUP while the daemon still loads must not end it."""
    import signal  # noqa: PLC0415 - only for `run`

    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
