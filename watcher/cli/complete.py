"""What a shell may complete: series, rules, channels. Nothing here may print or fail, whatever the files hold."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from watcher.config import Config
    from watcher.paths import Paths

Words = Iterable[tuple[str, str]]


def _completed(words: Callable[[], Words], incomplete: str) -> list[CompletionItem]:
    found: dict[str, str] = {}
    with suppress(Exception):  # a completion that complains would end up in the person's command line
        for word, help_ in words():
            found.setdefault(word, help_)
    return [CompletionItem(word, help=help_) for word, help_ in found.items() if word.startswith(incomplete)]


def series(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Providers, and the windows that were ever read."""
    return _completed(_series, incomplete)


def rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the rules in force."""
    return _completed(lambda: ((rule.name, f"rule in {rule.path}") for rule in _config().rules), incomplete)


def channels(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the channels."""
    return _completed(lambda: ((name, channel.type) for name, channel in _config().channels.items()), incomplete)


def _series() -> Words:
    from watcher import clock  # noqa: PLC0415 - completing must be quick where nothing of this is asked for
    from watcher.core.vocabulary import PROVIDERS  # noqa: PLC0415
    from watcher.store import FILE_NAME, Store  # noqa: PLC0415

    yield from ((provider, "provider") for provider in PROVIDERS)
    store = Store(_paths().state_dir / FILE_NAME, now=clock.now(), read_only=True)
    yield from ((f"{each.provider}.{each.window}", "window") for each in store.all_series())
    store.close()


def _paths() -> "Paths":
    import os  # noqa: PLC0415

    from watcher import paths  # noqa: PLC0415

    return paths.find(os.environ, paths.home())


def _config() -> "Config":
    from watcher.cli.rule_files import in_force  # noqa: PLC0415

    return in_force()  # without its secrets: nothing is asked of a password manager
