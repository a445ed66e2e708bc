"""`watcher rules`: are they right, which are in force, do they do what their examples say, why did one fire.

Never judge a reading here: examples and explanations run through the daemon's own core.
"""

from collections.abc import Iterator, Sequence

import click

from watcher.cli.context import find_paths, load_effective_config, load_rules_from_files
from watcher.cli.output import format_columns, format_count, get_output_width, wrap_line
from watcher.cli.rules_add import add
from watcher.cli.rules_explain import explain
from watcher.cli.rules_list import list_rules
from watcher.core.engine import rule_tests
from watcher.core.engine.rule_tests import ExampleResult
from watcher.core.formatting import format_duration
from watcher.core.rules.rule import Rule
from watcher.system.paths import may_exist


@click.group()
def rules() -> None:
    """Check, list, test, explain and add rules.

    \b
    watcher rules check                    every mistake, with its place
    watcher rules test                     do they do what their examples say?
    watcher rules explain session          why did it fire, or why not?
    watcher rules add mine --when "claude.five_hour > 80%" --clear "< 70%"
    """


@rules.command(short_help="Find every mistake at once, each with its place.")
@click.argument("files", nargs=-1, metavar="[FILE.toml]...")
def check(files: tuple[str, ...]) -> None:
    """Find every mistake at once: in FILES, else in the config and all rules in force.

    \b
    Exit code:  0  no mistake
               78  mistakes, each with file, line, column and what would be valid
    """
    if files:
        found = load_rules_from_files(files)
        names: tuple[str, ...] = files
    else:
        config = load_effective_config(with_secrets=True)
        found = config.rules
        config_file = find_paths().config_file
        names = tuple(
            dict.fromkeys([*([str(config_file)] if may_exist(config_file) else []), *(r.path for r in found)])
        )
        for channel, why in config.broken_channels.items():
            if channel in config.channels:
                click.echo(f"channel {channel}: {why}; its messages wait until then", err=True)
    for name in names:
        here = [rule for rule in found if rule.path == name]
        shown = sum(len(rule.examples) for rule in here)
        click.echo(f"{name}: {format_count(len(here), 'rule')}, {format_count(shown, 'example')}, no mistake")


@rules.command(short_help="Run the examples of the rules.")
@click.argument("files", nargs=-1, metavar="[FILE.toml]...")
def test(files: tuple[str, ...]) -> int:
    """Run the examples of the rules: of those in FILES, else of those in force. A row for each.

    \b
    . ok   p pending   F firing

    \b
    Exit code:  0  every example came out as expected
                1  some did not
               78  a file has mistakes
    """
    found = load_rules_from_files(files) if files else load_effective_config().rules
    ran = [rule_tests.run_example(rule, example) for rule in found for example in rule.examples]
    rows = [("ok" if each.passed else "MISS", each.rule, each.example.series, "".join(each.phases)) for each in ran]
    for line, each in zip(format_columns(rows), ran, strict=True):
        click.echo(line)
        for miss in _describe_misses(each, found):
            click.echo(f"      {miss}")
    without = [rule.name for rule in found if not rule.examples]
    if without:
        for line in wrap_line(f"without an example: {', '.join(without)}", get_output_width(), indent=4):
            click.echo(line)
    missed = sum(not each.passed for each in ran)
    click.echo(f"{format_count(len(ran), 'example')}, {f'{missed} not as expected' if missed else 'all as expected'}")
    return 1 if missed else 0


rules.add_command(list_rules)
rules.add_command(explain)
rules.add_command(add)


def _describe_misses(result: ExampleResult, rules: Sequence[Rule]) -> Iterator[str]:
    """What went otherwise than expected, step by step; and the neighbour that the example was meant for, if any."""
    if result.passed:
        return
    example = result.example
    row = example.used or example.remaining
    for step in result.failed_steps:
        after = f", {format_duration(step * example.every)} after the first" if step else ""
        expected, found = example.expect[step], result.phases[step]
        yield f"reading {step + 1} ({row[step]}{after}): expected {expected}, came out {found}"
    path = next(rule.path for rule in rules if rule.name == result.rule)
    for rule in rules:
        if rule.name != result.rule and rule.path == path and rule_tests.run_example(rule, example).passed:
            yield f"the rule `{rule.name}` does this: an example belongs to the [[rule]] above it"
            return
