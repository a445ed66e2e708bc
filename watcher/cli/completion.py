"""`watcher completion`: the script that a shell sources to complete commands, series, rules and channels."""

import click
from click.shell_completion import get_completion_class

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
