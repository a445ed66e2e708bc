"""`watcher completion`: the script that a shell sources to complete commands, series, rules and channels."""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete

from watcher.errors import UsageError

if TYPE_CHECKING:
    from watcher.config.loader import Config
    from watcher.storage.store import Store

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command()
@click.argument("shell", required=False, type=click.Choice(tuple(SHELLS)))
@click.option("--install", is_flag=True, help="Write what is needed into the shell's own file, once.")
@click.pass_context
def completion(context: click.Context, shell: str | None, *, install: bool) -> None:
    """Print the completion script of SHELL: bash, zsh or fish. Left out, it is your login shell.

    \b
    watcher completion --install         into the file of your shell
    watcher completion bash --install    into ~/.bashrc (macOS: ~/.bash_profile)
    eval "$(watcher completion zsh)"     in this shell only
    """
    if shell is None:
        shell = Path(os.environ.get("SHELL", "")).name
        if shell not in SHELLS:
            raise click.UsageError("which shell? write bash, zsh or fish")
    if install:
        click.echo(_install_line(shell))
        return
    script = SHELLS[shell](context.find_root().command, {}, "watcher", "_WATCHER_COMPLETE")
    # not `source()`: for bash it would first start a bash to ask for its version
    click.echo(script.source_template % script.source_vars())


_LINES = {
    "bash": 'command -v watcher >/dev/null && eval "$(watcher completion bash)"',
    # the script calls compdef, which is there after compinit
    "zsh": "if command -v watcher >/dev/null; then (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }"
    ' && eval "$(watcher completion zsh)"; fi',
    "fish": "command -q watcher; and watcher completion fish | source",
}


def _install_line(shell: str) -> str:
    """Write what completes into the shell's own file, unless it is there. Returns what was done."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    path = {
        "bash": home / (".bash_profile" if sys.platform == "darwin" else ".bashrc"),
        "zsh": Path(os.environ.get("ZDOTDIR") or home, ".zshrc"),
        "fish": config / "fish" / "config.fish",
    }[shell]
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        if f"watcher completion {shell}" in before:
            return f"{path} has it already"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{_LINES[shell]}\n")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    return f"written: {path}; it counts in every new {shell}"


# --- words to complete: nothing here prints or fails, whatever the files hold -----------------------------------------


Words = Iterable[tuple[str, str]]
"""Words with their help."""
_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _make_completion(list_words: Callable[[], Words]) -> _Complete:
    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: dict[str, str] = {}
        with suppress(Exception):  # an error would end up in the user's command line
            for word, help_ in list_words():
                found.setdefault(word, help_)
        return [CompletionItem(word, help=help_) for word, help_ in found.items() if word.startswith(incomplete)]

    return complete


def _list_providers() -> Words:
    from watcher.cli.context import load_own_providers  # noqa: PLC0415 - loaded only to complete, as below
    from watcher.core.rules.vocabulary import PROVIDER_WINDOWS  # noqa: PLC0415 - likewise

    load_own_providers()
    yield from ((provider, "provider") for provider in PROVIDER_WINDOWS)


def _list_series() -> Words:
    yield from _list_providers()
    yield from _list_windows()


def _list_windows() -> Words:
    with _open_store() as store:
        yield from ((f"{each.provider}.{each.window}", "window") for each in store.readings.load_series())


def _list_rules() -> Words:
    yield from ((rule.name, f"rule in {rule.path}") for rule in _load_config().rules)


def _list_targets() -> Words:
    """What may be snoozed."""
    with suppress(Exception):  # a mistake in the rules hides no series
        yield from _list_rules()
    yield from _list_windows()


def _list_channels() -> Words:
    yield from ((name, channel.type) for name, channel in _load_config().channels.items())


complete_providers = _make_completion(_list_providers)
complete_series = _make_completion(_list_series)
complete_rules = _make_completion(_list_rules)
complete_targets = _make_completion(_list_targets)
complete_channels = _make_completion(_list_channels)


def _open_store() -> "Store":
    from watcher.cli.context import find_paths, open_store  # noqa: PLC0415
    from watcher.system import clock  # noqa: PLC0415

    return open_store(find_paths(), clock.utc_now())


def _load_config() -> "Config":
    from watcher.cli.context import load_effective_config  # noqa: PLC0415

    return load_effective_config()  # without its secrets: no password manager is asked
