"""`watcher completion`: the script that a shell sources to complete commands, series, rules and channels."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from watcher.config.loader import Config
    from watcher.system.paths import Paths

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  echo 'eval "$(watcher completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(watcher completion zsh)"' >> ~/.zshrc
    fish:  watcher completion fish > ~/.config/fish/completions/watcher.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}; there is: {', '.join(SHELLS)}")
    root = context.find_root().command
    script = kind(root, {}, "watcher", "_WATCHER_COMPLETE")
    # not `source()`: for bash it would first start a bash to ask for its version
    click.echo(script.source_template % script.source_vars())


# --- What a shell may complete: series, rules, channels. Nothing here may print or fail, whatever the files hold


CompletionWords = Iterable[tuple[str, str]]


def _complete_words(list_words: Callable[[], CompletionWords], incomplete: str) -> list[CompletionItem]:
    found: dict[str, str] = {}
    with suppress(Exception):  # a completion that complains would end up in the person's command line
        for word, help_ in list_words():
            found.setdefault(word, help_)
    return [CompletionItem(word, help=help_) for word, help_ in found.items() if word.startswith(incomplete)]


def complete_series(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Providers, and the windows that were ever read."""
    return _complete_words(_list_series_words, incomplete)


def complete_rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the rules in force."""
    return _complete_words(lambda: ((rule.name, f"rule in {rule.path}") for rule in _load_config().rules), incomplete)


def complete_channels(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the channels."""
    return _complete_words(
        lambda: ((name, channel.type) for name, channel in _load_config().channels.items()), incomplete
    )


def _list_series_words() -> CompletionWords:
    from watcher.core.rules.fields import PROVIDER_WINDOWS  # noqa: PLC0415
    from watcher.storage.store import DATABASE_FILE_NAME, Store  # noqa: PLC0415
    from watcher.system import clock  # noqa: PLC0415 - completing must be quick where nothing of this is asked for

    yield from ((provider, "provider") for provider in PROVIDER_WINDOWS)
    store = Store(_resolve_paths().state_dir / DATABASE_FILE_NAME, now=clock.utc_now(), read_only=True)
    yield from ((f"{each.provider}.{each.window}", "window") for each in store.readings.load_series())
    store.close()


def _resolve_paths() -> "Paths":
    import os  # noqa: PLC0415

    from watcher.system import paths  # noqa: PLC0415

    return paths.resolve_paths(os.environ, paths.find_home())


def _load_config() -> "Config":
    from watcher.cli.context import load_effective_config  # noqa: PLC0415

    return load_effective_config()  # without its secrets: nothing is asked of a password manager
