"""`watcher run`: the daemon in the foreground, until a signal ends it."""

import click

from watcher.cli import ignore_reload_signal


@click.command()
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Form of the log's lines.")
@click.option("-v", "--verbose", is_flag=True, help="Log every poll, not only what changes.")
def run(log_format: str, *, verbose: bool) -> None:
    """Watch from now on, in the foreground. `watcher agent install` does so at every login.

    SIGTERM and SIGINT end it, SIGHUP reloads the config.
    """
    ignore_reload_signal()
    from watcher.cli import service  # noqa: PLC0415 - loguru and requests are heavy, and only the daemon needs both

    service.run_daemon(json_lines=log_format == "json", verbose=verbose)
