"""`watcher metrics`: what a Prometheus would see, from the store; and one push."""

import click

from watcher.cli import EXIT_UNAVAILABLE
from watcher.cli.context import find_paths, load_effective_config, open_store
from watcher.cli.output import echo_error
from watcher.config.metrics import MetricsTable
from watcher.errors import UsageError
from watcher.prometheus.exporter import add_push_labels, send_push
from watcher.prometheus.metrics import collect_samples, encode_remote_write, format_text
from watcher.system import clock
from watcher.system.environment import create_environment


@click.group(invoke_without_command=True)
@click.option("--openmetrics", is_flag=True, help="Print OpenMetrics 1.0 instead of the text format 0.0.4.")
@click.pass_context
def metrics(context: click.Context, *, openmetrics: bool) -> None:
    """Print what is exported for Prometheus.

    \b
    watcher metrics > /var/lib/node_exporter/textfile/ai_usage.prom
    watcher metrics push            one push to [metrics.push], and its answer
    """
    if context.invoked_subcommand is not None:
        return
    config = load_effective_config(with_secrets=True)
    if config.metrics is None and "metrics" in config.broken_channels:
        raise UsageError(f"[metrics] cannot be used: {config.broken_channels['metrics']}")
    settings = (config.metrics or MetricsTable()).with_salt(find_paths().state_dir)
    with open_store(find_paths(), now := clock.utc_now()) as store:
        click.echo(format_text(collect_samples(store, settings, now), openmetrics=openmetrics), nl=False)


@metrics.command(short_help="Push once, and say what the receiver answers.")
def push() -> int:
    """Push once to `[metrics.push]`, and say what the receiver answers.

    \b
    Exit code:  0  delivered
               69  not reachable, or refused
               78  the config has a mistake
    """
    config = load_effective_config(with_secrets=True)
    if config.metrics is None or config.metrics.push is None:
        why = config.broken_channels.get("metrics", "the config has no [metrics.push]: docs/prometheus.md shows one")
        raise UsageError(f"nothing to push to: {why}")
    settings = config.metrics.with_salt(find_paths().state_dir)
    with open_store(find_paths(), now := clock.utc_now()) as store:
        samples = add_push_labels(collect_samples(store, settings, now), settings)
    result = send_push(
        config.metrics.push, encode_remote_write(samples, (), now), create_environment(config.network).send
    )
    if result.delivered:
        click.echo(f"{len(samples)} samples delivered{f'; {result.detail}' if result.detail else ''}")
        return 0
    echo_error(f"not delivered: {result.detail}")
    return EXIT_UNAVAILABLE
