"""Words in; words and an exit code out. One file a command or group, imported only when it is called.

This file is on the path of commands that run many times a minute, so it imports nothing: click and the group of
commands are in `watcher.cli.app`. Never put a decision here that the daemon would have to make too.
"""

import sys

COMMANDS = {
    "init": "watcher.cli.init:init",
    "run": "watcher.cli.run:run",
    "check": "watcher.cli.check:check",
    "status": "watcher.cli.status:status",
    "guard": "watcher.cli.guard:guard",
    "rules": "watcher.cli.rules:rules",
    "replay": "watcher.cli.replay:replay_command",
    "history": "watcher.cli.history:history",
    "report": "watcher.cli.report:report",
    "doctor": "watcher.cli.doctor:doctor",
    "config": "watcher.cli.config:config",
    "snooze": "watcher.cli.snooze:snooze",
    "unsnooze": "watcher.cli.snooze:unsnooze",
    "notify": "watcher.cli.notify:notify",
    "ingest": "watcher.cli.ingest:ingest",
    "agent": "watcher.cli.agent:agent",
    "demo": "watcher.cli.demo:demo",
    "completion": "watcher.cli.completion:completion",
    "help": "watcher.cli.help:topic",
}
"""Command name -> module and attribute, in the order in which help shows them."""

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
    (EXIT_USAGE, "the command line makes no sense; `guard`: nor does the expression"),
    (
        EXIT_UNAVAILABLE,
        "`guard`: unknown, because there is no reading fresh enough; elsewhere: nothing was ever read here",
    ),
    (EXIT_SOFTWARE, "a defect of this program: one line says where, -v shows the traceback"),
    (EXIT_BUSY, "`run`: a watcher is running already"),
    (EXIT_CONFIG, "the config or a rule file has a mistake: file, line and caret are shown"),
    (EXIT_INTERRUPTED, "interrupted with Ctrl-C"),
)
"""Every exit code and what it means: the table of `watcher help exit-codes`."""


BAR_FORMATS = ("line", "tmux", "waybar")
"""Forms of `status --format`."""


def main() -> None:
    """The command `watcher`."""
    try:
        code = dispatch(sys.argv[1:])
    except KeyboardInterrupt:  # while a command was still loading, or on a quick way
        code = EXIT_INTERRUPTED
    sys.exit(code)


def dispatch(args: list[str]) -> int:
    """Run a command line; the exit code. What other programs ask many times a minute goes the quick way."""
    words = [part for word in args for part in word.split("=", 1)]
    if words[:2] == ["status", "--format"] and len(words) == 3 and words[2] in BAR_FORMATS:  # noqa: PLR2004 - a bar's whole line
        from watcher.cli import status_bar  # noqa: PLC0415 - the quick way

        return status_bar.print_status_line(words[2])
    if args == ["ingest", "claude-statusline"]:
        from watcher.cli import ingest_statusline  # noqa: PLC0415 - likewise

        return ingest_statusline.run_statusline()
    if args == ["run"]:
        return _run_daemon()
    from watcher.cli import app  # noqa: PLC0415 - click, which the quick ways never need

    return app.run(args)


def _run_daemon() -> int:
    """`watcher run` as a login item starts it: past click, which the process would carry for weeks."""
    ignore_reload_signal()
    try:
        from watcher.cli import service  # noqa: PLC0415 - only here

        service.run_daemon()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where a defect can become a sentence
        from watcher.cli import app  # noqa: PLC0415 - likewise

        return app.report_error(error, ["run"])
    return 0


def ignore_reload_signal() -> None:
    """A SIGHUP that comes while the daemon still loads has nothing to read anew, and must not end it."""
    import signal  # noqa: PLC0415 - not on the way of commands that run many times a minute

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
