"""`watcher rules`: are the rules correct, which are in force, do they pass their examples, why did one fire.

The commands in order: check, test, list, explain, add, edit, disable, compile. Examples and explanations run through
the daemon's engine.
"""

import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from watcher.cli import EXIT_UNAVAILABLE
from watcher.cli.completion import complete_rules
from watcher.cli.context import (
    create_private_file,
    edit_and_check,
    find_paths,
    load_effective_config,
    load_own_providers,
    make_series_formatter,
    open_store,
    parse_duration_option,
)
from watcher.cli.output import (
    echo_error,
    echo_wrapped,
    format_columns,
    format_count,
    format_toml,
    get_output_width,
    wrap_line,
)
from watcher.core.engine import rule_tests
from watcher.core.engine.replay import iter_decisions
from watcher.core.engine.rule_tests import ExampleResult
from watcher.core.engine.transitions import Decision
from watcher.core.formatting import format_duration, format_percent
from watcher.core.model import AlertEvent, Delivery, DeliveryState, Series, Transition
from watcher.core.routing.planner import Suppression
from watcher.core.rules import diagnostics, loader
from watcher.core.rules.advice import find_advice
from watcher.core.rules.rule import Rule
from watcher.errors import ConfigError, UsageError
from watcher.system import clock
from watcher.system.lock import Lock
from watcher.system.paths import Paths, find_rule_packs, may_exist

if TYPE_CHECKING:
    from watcher.prometheus.compiler import CompiledAlert, CompileOptions

EXIT_REFUSED = 3  # `compile --check`: a rule cannot be carried over


@click.group()
def rules() -> None:
    """Check, list, test, explain, add, edit and disable rules.

    \b
    watcher rules check                    every mistake, with its place
    watcher rules test                     do they pass their examples?
    watcher rules explain session          why did it fire, or why not?
    watcher rules edit session             in your editor
    watcher rules add mine --when "claude.five_hour > 80%" --clear "< 70%"
    """


# --- files of rules --------------------------------------------------------------------------------------------------


_MAX_RULE_FILE_BYTES = 4 * loader.MAX_FILE_LENGTH + 1  # a longer file is refused, whatever its characters


def _load_rules_from_files(names: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of some files, of which one may be a whole `config.toml`.

    Raises:
        ConfigError: with every mistake in all of them.
        UsageError: a file cannot be read.
    """
    load_own_providers()
    texts, errors = [], []
    for name in names:
        try:
            texts.append((name, read_rule_file(name)))
        except ConfigError as error:
            errors.append(str(error))
    config_path = next((name for name in names if Path(name).name == "config.toml"), None)
    found, mistakes = loader.check_rule_files(texts, channels=_load_channel_names(), config_path=config_path)
    if mistakes or errors:
        raise ConfigError("\n".join([*errors, *([diagnostics.format_diagnostics(mistakes)] if mistakes else [])]))
    return found


def read_rule_file(path: str) -> str:
    """The text of a rule file; what is beyond the longest valid one is cut off.

    Raises:
        UsageError: it cannot be read.
        ConfigError: it is not UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            return loader.decode_utf8(file.read(_MAX_RULE_FILE_BYTES), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give files of rules") from error


def _load_channel_names() -> tuple[str, ...] | None:
    """The channels of the config; None where there is none, or it has a mistake."""
    if not may_exist(find_paths().config_file):
        return None
    try:
        return tuple(load_effective_config().channels)
    except ConfigError:
        return None


# --- check ----------------------------------------------------------------------------------------------------------


@rules.command(short_help="Find every mistake at once, each with its place.")
@click.argument("files", nargs=-1, metavar="[FILE.toml]...")
def check(files: tuple[str, ...]) -> None:
    """Find every mistake at once: in FILES, else in the config and all rules in force.

    \b
    Exit code:  0  no mistake
               78  mistakes, each with file, line, column and what would be valid
    """
    if files:
        found, names = _load_rules_from_files(files), list(files)
    else:
        for path in find_paths().list_conflicted_copies():
            echo_error(f"{path}: a copy that a sync tool has set aside; left out: compare it, then delete it")
        config, config_file = load_effective_config(with_secrets=True), find_paths().config_file
        found, names = config.rules, [str(config_file)] if may_exist(config_file) else []
        names += [rule.path for rule in found]
        for channel, error in config.broken_channels.items():
            if channel in config.channels:
                echo_error(f"channel {channel}: {error}; its messages wait until then")
    for advice in find_advice(found):
        echo_error(f"warning: {advice}")
    for name in dict.fromkeys(names):
        of_file = [rule for rule in found if rule.path == name]
        examples = sum(len(rule.examples) for rule in of_file)
        echo_wrapped(f"{name}: {format_count(len(of_file), 'rule')}, {format_count(examples, 'example')}, no mistake")


# --- test -----------------------------------------------------------------------------------------------------------


@rules.command(short_help="Run the examples of the rules.")
@click.argument("files", nargs=-1, metavar="[FILE.toml]...")
def test(files: tuple[str, ...]) -> int:
    """Run the examples of the rules: of those in FILES, else of those in force. A row for each.

    \b
    . ok   p pending   F firing   - not a series of the rule

    \b
    Exit code:  0  every example came out as expected
                1  some did not
               78  a file has mistakes
    """
    found = _load_rules_from_files(files) if files else load_effective_config().rules
    results = [rule_tests.run_example(rule, example) for rule in found for example in rule.examples]
    rows = [("ok" if each.passed else "MISS", each.rule, each.example.series, "".join(each.phases)) for each in results]
    for line, result in zip(format_columns(rows), results, strict=True):
        click.echo(line)
        for miss in _describe_misses(result):
            click.echo(f"      {miss}")
    untested = [rule.name for rule in found if not rule.examples]
    if untested:
        echo_wrapped(f"without an example: {', '.join(untested)}")
    missed = sum(not each.passed for each in results)
    outcome = f"{missed} not as expected" if missed else "all as expected"
    click.echo(f"{format_count(len(results), 'example')}, {outcome}")
    return 1 if missed else 0


def _describe_misses(result: ExampleResult) -> Iterator[str]:
    """Each step that came out differently."""
    example = result.example
    values = example.used or example.remaining
    for step in result.failed_steps:
        after = f", {format_duration(step * example.every)} after the first" if step else ""
        outcome = f"expected {example.expect[step]}, came out {result.phases[step]}"
        yield f"reading {step + 1} ({values[step]}{after}): {outcome}"


# --- list -----------------------------------------------------------------------------------------------------------


@rules.command("list", short_help="List the rules in force.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each rule.")
@click.option("--packs", is_flag=True, help="The packs of rules that are shipped.")
def list_rules(*, as_json: bool, packs: bool) -> None:
    """List the rules in force: what fires each, what ends it, its channels; or the shipped packs."""
    if packs:
        for line in format_columns(list(_list_packs()), width=get_output_width()):
            click.echo(line)
        return
    found = load_effective_config().rules
    if as_json:
        for rule in found:
            click.echo(msgspec.json.encode(convert_rule(rule)).decode())
    elif found:
        for line in format_rules(found, get_output_width()):
            click.echo(line)
    else:
        click.echo("no rule is in force: `watcher init` writes some, `watcher rules add` writes one")


def _list_packs() -> Iterator[Sequence[str]]:
    """Name and purpose of each shipped pack."""
    for name, path in find_rule_packs().items():
        comment = " ".join(line[2:] for line in path.read_text("utf-8").split("\n\n")[0].splitlines()[1:])
        yield name, comment.partition(". ")[0].rstrip(".")


def convert_rule(rule: Rule) -> dict[str, Any]:
    """A rule for `--json`: conditions as texts, durations in seconds, None for what was left out."""
    return {
        "rule": rule.name,
        "file": rule.path,
        "line": rule.line,
        "series": str(rule.subject),
        "levels": [
            {"severity": level.severity, "when": str(level.when), "clear": str(level.clear)} for level in rule.levels
        ],
        "for_seconds": rule.pending_for.total_seconds(),
        "remind_seconds": None if rule.remind is None else rule.remind.total_seconds(),
        "on": _list_events(rule),
        "notify": rule.notify,
    }


def format_rules(found: Sequence[Rule], width: int) -> Iterator[str]:
    """Of each rule the name, two lines for each level, the recipients, and the location in one piece."""
    for number, rule in enumerate(found):
        if number:
            yield ""
        yield rule.name
        pending = f" for {format_duration(rule.pending_for)}" if rule.pending_for else ""
        for level in rule.levels:
            yield from wrap_line(f"  {level.severity:<8}  fires when {level.when}{pending}", width, indent=14)
            yield from wrap_line(f"  {'':<8}  ends when {level.clear}", width, indent=14)
        yield from wrap_line(f"  notifies {_format_recipients(rule)}", width, indent=8)
        yield f"  in {rule.path}:{rule.line}"


def _format_recipients(rule: Rule) -> str:
    again = f", again every {format_duration(rule.remind)}" if rule.remind is not None else ""
    return f"{', '.join(rule.notify) if rule.notify else 'the usual route'} ({', '.join(_list_events(rule))}){again}"


def _list_events(rule: Rule) -> list[str]:
    return [event.value for event in AlertEvent if event in rule.on and event is not AlertEvent.REMINDER]


# --- explain --------------------------------------------------------------------------------------------------------


_CONDITION_LABELS = {True: "holds", False: "does not", None: "unknown"}


@rules.command(short_help="Say why a rule fired, or why it did not.")
@click.argument("rule", shell_complete=complete_rules)
@click.option("--last", default=10, show_default=True, type=click.IntRange(1, 10_000), help="Readings of each series.")
@click.option("--since", default="3d", show_default=True, metavar="TIME", help="How far back to begin: 12h, 7d.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a line for each decision, and for each change that was not sent.",
)
def explain(*, rule: str, last: int, since: str, as_json: bool) -> None:
    """Say why RULE fired, or why it did not: the last readings with the decision and the reason at each.

    The readings come from the store and are evaluated again by the rule as it is now. What was sent, and why a change
    was not (snoozed, quiet hours, overtaken, ...), is what was recorded then.
    """
    config = load_effective_config()
    found = _find_rule(config.rules, rule)
    now = clock.utc_now()
    start = now - parse_duration_option("--since", since)
    with open_store(find_paths(), now) as store:
        decisions: dict[Series, list[Decision]] = {}
        for each in iter_decisions(
            [found],
            store.readings.load_poll_results(start),
            default_intervals={name: settings.pace.every for name, settings in config.providers.items()},
            until=now,
        ):
            decisions.setdefault(each.series, []).append(each)
        decisions = dict(sorted(decisions.items()))
        transitions = store.alerts.load_transitions(since=start, rule=rule)
        suppressions = store.outbox.load_suppressions(since=start, rule=rule)
        deliveries = [each for state in DeliveryState for each in store.outbox.load_finished(state, since=start)]
        format_series = make_series_formatter(store)
    if as_json:
        objects = [convert_decision(each) for decided in decisions.values() for each in decided[-last:]]
        objects += [convert_suppression(each) for each in suppressions[-last:]]
        for one in objects:
            click.echo(msgspec.json.encode(one).decode())
        return
    _print_decisions(found, decisions, last, format_series)
    if transitions:
        click.echo("\nwhat was sent")
    for transition in transitions[-last:]:
        for line in _format_transition(found, transition, deliveries, suppressions, format_series):
            echo_wrapped(line)


def _find_rule(all_rules: Sequence[Rule], name: str) -> Rule:
    """The rule of that name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    by_name = {rule.name: rule for rule in all_rules}
    if name in by_name:
        return by_name[name]
    hint = diagnostics.suggest_word(name, by_name, f"there are: {', '.join(by_name) or 'none'}")
    raise UsageError(f"no rule is called `{name}`; {hint}")


def convert_decision(decision: Decision) -> dict[str, object]:
    """One decision as an object of `--json`; unknown is null."""
    return {
        "at": decision.at,
        "rule": decision.rule,
        "series": str(decision.series),
        "used_percent": decision.used_percent,
        "condition": decision.condition,
        "state": decision.phase,
        "reason": decision.reason,
        "text": decision.text,
    }


def convert_suppression(suppression: Suppression) -> dict[str, object]:
    """One change that was not sent, as an object of `--json`: only these have `event` and `channel`."""
    return {
        "at": suppression.decided_at,
        "rule": suppression.rule,
        "series": str(suppression.series),
        "event": suppression.event,
        "channel": suppression.channel or None,
        "reason": suppression.reason,
    }


def _print_decisions(
    rule: Rule, decisions: dict[Series, list[Decision]], max_rows: int, format_series: Callable[[Series], str]
) -> None:
    for level in rule.levels:
        echo_wrapped(f"{rule.name} ({level.severity}): fires when {level.when}, ends when {level.clear}")
    if not decisions:
        echo_wrapped("nothing was decided: no reading of any series that this rule is about is in the store")
        echo_wrapped(f"it is about {rule.subject}; `watcher status` shows which series there are")
    for series, decided in decisions.items():
        click.echo(f"\n{format_series(series)}")
        for line in format_columns(_format_rows(decided, max_rows), indent="  ", width=get_output_width()):
            click.echo(line)


def _format_rows(decisions: Sequence[Decision], max_rows: int) -> list[Sequence[str]]:
    """The last rows; of several in a row that say the same, only the first and the last, and how many there are."""
    rows: list[Sequence[str]] = []
    for _, alike in groupby(map(_format_row, decisions), key=lambda row: row[1:]):
        first, *more = alike
        rows.append(first)
        if len(more) > 1:
            rows.append((f"{'...':^{len(first[0])}}", "", "", "", f"{len(more) - 1} more of the same"))
        rows += more[-1:]
    return rows[-max_rows:]


def _format_row(decision: Decision) -> Sequence[str]:
    used = "?" if decision.used_percent is None else format_percent(decision.used_percent)
    return (
        f"{decision.at.astimezone():%m-%d %H:%M}",
        used.rjust(6),
        _CONDITION_LABELS[decision.condition],
        decision.phase.value,
        decision.text,
    )


def _format_transition(
    rule: Rule,
    transition: Transition,
    deliveries: Sequence[Delivery],
    suppressions: Sequence[Suppression],
    format_series: Callable[[Series], str],
) -> Iterator[str]:
    """A change as it was recorded, what became of its messages, and why some were not sent."""
    series, at = format_series(transition.series), _format_local_time(transition.at)
    yield f"  {at}  {transition.event} ({transition.reason}) {series}"
    own = [each for each in deliveries if transition.key in (each.key, *(about.key for about in each.transitions))]
    for delivery in own:
        outcome = f", {delivery.last_response}" if delivery.last_response else ""
        yield f"    {delivery.channel}: {delivery.state} ({delivery.reason}){outcome}"
    suppressed = [each for each in suppressions if each.transition_key == transition.key]
    for decision in suppressed:
        if (decision.channel, decision.reason) not in {(each.channel, each.reason) for each in own}:
            later = "" if decision.decided_at == transition.at else f" at {_format_local_time(decision.decided_at)}"
            yield f"    {decision.channel or 'no channel'}: not sent{later} ({decision.reason})"
    if not own and transition.event not in rule.on and transition.event is not AlertEvent.REMINDER:
        yield f"    not sent: the rule's `on` does not ask for {transition.event}"
    elif not own and not suppressed:
        yield "    no message of its own: it was overtaken, or joined to another"


def _format_local_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


# --- add ------------------------------------------------------------------------------------------------------------


SCHEMA_LINE = "#:schema ./rules.schema.json\n"
_FLAGS = ("when", "clear", "severity", "notify", "for", "remind", "on", "active", "tz", "title", "message")


@rules.command(short_help="Write one rule into a file of its own.")
@click.argument("name", required=False)
@click.option("--pack", metavar="PACK", help="Copy a shipped pack of rules.")
@click.option("--when", help='What fires it: "claude.five_hour > 80%".')
@click.option("--clear", help='What ends it: "< 70%". Left out: five points back from a percent.')
@click.option("--severity", help="info, warning or critical. Left out: warning.")
@click.option(
    "--level", "levels", multiple=True, metavar="SEVERITY=VALUE", help="A step of a ladder; `level` in --when is it."
)
@click.option("--notify", multiple=True, metavar="CHANNEL", help="A channel to notify. Left out: the default route.")
@click.option("--for", "for", metavar="TIME", help="How long it must hold first: 10m.")
@click.option("--remind", metavar="TIME", help="Repeat it this often while it lasts: 2h.")
@click.option("--on", multiple=True, metavar="EVENT", help="firing, escalated, resolved or reset.")
@click.option("--active", help='When it may fire at all: "Mon-Fri 09:00-18:00".')
@click.option("--tz", help="The zone of --active: Europe/Berlin. Left out: local time.")
@click.option("--title", help='In place of the usual title: "{provider} at {used_percent:.0f} %".')
@click.option("--message", help="In place of the usual text.")
@click.option("--dry-run", is_flag=True, help="Print the file instead of writing it.")
def add(*, name: str | None, pack: str | None, dry_run: bool, **flags: Any) -> None:
    """Write one rule called NAME, or a shipped pack, into a file of its own in the rules folder. It overwrites nothing.

    \b
    watcher rules add mine --when "claude.five_hour > 80%" --clear "< 70%"
    watcher rules add ladder --when "*.weekly > level" \\
      --level warning=80% --level critical=95%
    watcher rules add --pack reset-reminders
    """
    own = find_paths()
    path, text = _read_pack(own, pack, name, flags) if pack is not None else _make_rule(own, name, flags)
    if may_exist(path) and not dry_run:
        other_way = "give the rule another name" if pack is None else "move it away"
        raise UsageError(f"{path} is there already; {other_way}, or edit that file")
    for advice in _validate_rule(str(path), text):
        echo_error(f"warning: {advice}")
    if dry_run:
        click.echo(text, nl=False)
        return
    shipped_rules_end = not may_exist(own.config_file) and not own.list_rule_files()
    try:
        create_private_file(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    Lock(own.state_dir).signal_holder()
    click.echo(f"written: {path}")
    if shipped_rules_end:
        click.echo("the default rules, in force while there were no others, no longer are: `watcher init` writes them")


def _make_rule(own: Paths, name: str | None, flags: dict[str, Any]) -> tuple[Path, str]:
    """The file of one rule, and its text."""
    if name is None or flags["when"] is None:
        missing = "a name" if name is None else "--when"
        raise UsageError(
            f'{missing} is missing: watcher rules add mine --when "claude.five_hour > 80%", or --pack PACK'
        )
    return own.rules_dir / f"{make_slug(name)}.toml", format_rule_toml(name, flags)


def _read_pack(own: Paths, pack: str, name: str | None, flags: dict[str, Any]) -> tuple[Path, str]:
    """The file that a pack is copied to, and its text."""
    packs = find_rule_packs()
    if name is not None or any(flags.values()):
        raise UsageError("--pack copies a whole file: give no name and no other flag but --dry-run")
    if pack not in packs:
        raise UsageError(f"there is no pack `{pack}`; {diagnostics.suggest_word(pack, packs)}")
    if str(packs[pack]) in {rule.path for rule in load_effective_config().rules}:
        by = (
            f"by `use` under [rules] in {own.config_file}" if may_exist(own.config_file) else "`watcher init` writes it"
        )
        raise UsageError(f"`{pack}` is in force already: {by}")
    return own.rules_dir / packs[pack].name, packs[pack].read_text("utf-8")


def make_slug(name: str) -> str:
    """The file name for a rule's name: lower case, letters of any script, every run of other characters one `-`."""
    return re.sub(r"[\W_]+", "-", name.lower()).strip("-") or "rule"


def format_rule_toml(name: str, flags: dict[str, Any]) -> str:
    """The file; flags that were not given are left out.

    Raises:
        UsageError: a text is not valid UTF-8.
    """
    levels = {severity: value for severity, _, value in (option.partition("=") for option in flags["levels"])}
    given = {key: list(flags[key]) if isinstance(flags[key], tuple) else flags[key] for key in _FLAGS}
    rule = {"name": name, **{key: value for key, value in given.items() if value not in (None, [])}}
    try:
        text = f"{SCHEMA_LINE}\n[[rule]]\n{format_toml(rule)}"
        if levels:
            text += f"\n{format_toml({'rule': {'levels': levels}})}"
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("a flag holds bytes that are not UTF-8 text") from error
    return text


def _validate_rule(path: str, text: str) -> list[str]:
    """Refuses a file that would not load beside the rules in force; returns what is hardly meant in it.

    Raises:
        ConfigError: with every mistake, of the rule or of the files that are there already.
    """
    config = load_effective_config()
    found, mistakes = loader.check_rule_files([(path, text)], channels=tuple(config.channels), taken=config.rules)
    if mistakes:
        raise ConfigError(f"{diagnostics.format_diagnostics(mistakes)}\nnothing was written")
    return [advice for advice in find_advice([*config.rules, *found]) if advice.startswith(path)]


# --- edit, disable -------------------------------------------------------------------------------------------------


@rules.command(short_help="Open a rule in your editor, then check it.")
@click.argument("rule", shell_complete=complete_rules)
def edit(rule: str) -> None:
    """Open the file of RULE in $VISUAL or $EDITOR. Afterwards all files are checked, and a running watcher loads them.

    \b
    Exit code:  0  no mistake
               78  it was saved with a mistake: file, line and caret are shown
    """
    edit_and_check(_find_own_rule(rule)[0])


@rules.command(short_help="Turn a rule into comments in its file.")
@click.argument("rule", shell_complete=complete_rules)
def disable(rule: str) -> None:
    """Turn RULE into comments in its file; nothing else in the file changes. A running watcher drops it at once.

    To enable it again, remove the `# ` before its lines.
    """
    path, line = _find_own_rule(rule)
    try:
        text = path.read_bytes().decode()
        changed, end = comment_out_rule(text, rule, line)
        new = path.resolve().with_name(f"{path.name}.new")  # a link stays one
        create_private_file(new, "")
        new.write_bytes(changed.encode())
        shutil.copymode(path, new)
        new.replace(path.resolve())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot change {path}: {getattr(error, 'strerror', None) or error}") from error
    Lock(find_paths().state_dir).signal_holder()
    click.echo(f"disabled {rule}: lines {line} to {end} of {path} are comments now; to enable it, remove each `# `")


def comment_out_rule(text: str, name: str, line: int) -> tuple[str, int]:
    """The text of a file with the rule that begins at `line` as comments, and the last line of the rule.

    Raises:
        UsageError: its lines cannot be separated from the others.
    """
    lines = text.split("\n")
    end = next((i for i in range(line, len(lines)) if _NEXT_TABLE_PATTERN.match(lines[i])), len(lines))
    while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
        end -= 1  # a comment before the next table belongs to that
    lines[line - 1 : end] = [f"# {each}" if each.strip() else each for each in lines[line - 1 : end]]
    changed = "\n".join(lines)
    before, after = tomllib.loads(text.removeprefix("\ufeff")), {}
    with suppress(tomllib.TOMLDecodeError):
        after = {"rule": [], **tomllib.loads(changed.removeprefix("\ufeff"))}
    if after != {**before, "rule": [each for each in before["rule"] if each.get("name") != name]}:
        raise UsageError(f"the lines of `{name}` are not in one piece; use `watcher rules edit {name}`")
    return changed, end


_NEXT_TABLE_PATTERN = re.compile(r"""\s*\[(?!\[?\s*(rule|"rule"|'rule')\s*\.)""")


def _find_own_rule(name: str) -> tuple[Path, int]:
    """The file of a rule and its line, also in a file with mistakes.

    Raises:
        UsageError: there is none, or it is shipped.
        ConfigError: mistakes hide it.
    """
    own = find_paths()
    try:
        rule = _find_rule(load_effective_config().rules, name)
    except ConfigError:
        pattern = re.compile(rf"""\s*name\s*=\s*["']{re.escape(name)}["']""")
        for path in (*own.list_rule_files(), own.config_file):
            lines = path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []
            for number, line in enumerate(lines, 1):
                if pattern.match(line):
                    return path, number
        raise
    path = Path(rule.path)
    if path in find_rule_packs().values():
        remedy = (
            f"take `{path.stem}` out of `use` under [rules] in {own.config_file}, then `watcher rules add --pack"
            f" {path.stem}`"
            if may_exist(own.config_file)
            else "`watcher init`"
        )
        raise UsageError(f"`{name}` is in the shipped pack `{path.stem}`; for a copy that you can change: {remedy}")
    return path, rule.line


# --- compile --------------------------------------------------------------------------------------------------------


@rules.command("compile", short_help="Turn rules into alerting rules of Prometheus.")
@click.argument("files", nargs=-1, metavar="[FILE.toml]...")
@click.option("--to", "target", type=click.Choice(["prometheus"]), help="What to compile to.")
@click.option(
    "--by",
    type=click.Choice(["account", "instance"]),
    default="account",
    show_default=True,
    help="One alert an account, by its freshest watcher; or one a machine.",
)
@click.option("--every", default="1m", show_default=True, metavar="TIME", help="How often Prometheus evaluates.")
@click.option("--memory", default="15m", show_default=True, metavar="TIME", help="A restart of Prometheus may last it.")
@click.option("--out", "out_path", metavar="FILE", help="Write there instead of on the terminal.")
@click.option("--alertmanager", is_flag=True, help="Print routes, inhibition and time intervals instead.")
@click.option("--strict", is_flag=True, help="Exit with 1 where any rule is refused.")
@click.option("--check", "is_check", is_flag=True, help="Run the examples through the engine and through promtool.")
@click.option("--against", "readings_path", metavar="FILE.jsonl", help="With --check: compare over these readings.")
@click.option("--json", "as_json", is_flag=True, help="With --check: one JSON object a line for each difference.")
def compile_command(  # noqa: PLR0913 - its options
    *,
    files: tuple[str, ...],
    target: str | None,
    by: Literal["account", "instance"],
    every: str,
    memory: str,
    out_path: str | None,
    alertmanager: bool,
    strict: bool,
    is_check: bool,
    readings_path: str | None,
    as_json: bool,
) -> int:
    """Turn the rules in FILES, else those in force, into alerting rules of Prometheus.

    What cannot be carried over is reported with its place.

    \b
    watcher rules compile --to prometheus --out ai-usage.yml
    watcher rules compile --check team.toml   same transitions there?

    \b
    Exit code:  0  compiled; --check: no transition differs
                1  no rule, or with --strict not every rule; --check: some differ
                3  --check: a rule is refused
               69  --check: promtool is not installed
    """
    from watcher.prometheus import compiler  # noqa: PLC0415 - only here

    if not (is_check or alertmanager) and target is None:
        raise click.UsageError("write --to prometheus, or --check, or --alertmanager")
    if readings_path is not None and not is_check:
        raise click.UsageError("--against belongs to --check")
    for option, text in (("--every", every), ("--memory", memory)):
        parse_duration_option(option, text)
    found = _load_rules_from_files(files) if files else load_effective_config().rules
    options = compiler.CompileOptions(by=by, every=every, memory=memory)
    compiled, refused = compiler.compile_rules(found, options, read_rule_file)
    if refused:
        echo_error(diagnostics.format_diagnostics(refused))
    if is_check:
        return _compare_compiled(compiled, options, readings_path, as_json=as_json, is_refused=bool(refused))
    if not compiled:
        echo_error("no rule can be carried over, so nothing is written")
        return 1
    for alert in compiled:
        for note in alert.notes:
            echo_error(f"{alert.rule.path}:{alert.rule.line}: {alert.rule.name}: {note}")
    if alertmanager:
        _write_compiled(compiler.format_alertmanager_config([each.rule for each in compiled]), out_path)
    else:
        _write_compiled(compiler.format_rule_file(compiled, options), out_path)
    return 1 if strict and refused else 0


def _write_compiled(text: str, path: str | None) -> None:
    """Write the text to a file; print it where none is given."""
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _compare_compiled(
    compiled: Sequence["CompiledAlert"],
    options: "CompileOptions",
    readings_path: str | None,
    *,
    as_json: bool,
    is_refused: bool,
) -> int:
    """Compare the transitions of the engine and of Prometheus, over the examples or over readings."""
    from watcher.cli.replay import load_results_from_file  # noqa: PLC0415 - it imports this module
    from watcher.prometheus.parity import Comparison, PromtoolError, compare_history  # noqa: PLC0415 - only here
    from watcher.system.process import run_command  # noqa: PLC0415 - likewise

    total = Comparison()
    try:
        if readings_path is not None:
            total = compare_history(compiled, load_results_from_file(readings_path), options, run_command)
        else:
            for alert in compiled:
                for example in alert.rule.examples:
                    history = list(rule_tests.make_snapshots(example))
                    total += compare_history([alert], history, options, run_command, every=example.every)
    except PromtoolError as error:
        echo_error(str(error))
        return EXIT_UNAVAILABLE
    for each in total.differences:
        if as_json:
            click.echo(msgspec.json.encode(each).decode())
        else:
            who = "the engine alone" if each.engine else "Prometheus alone"
            click.echo(f"{each.at:%Y-%m-%d %H:%M} {each.rule} on {each.series}: {each.event}: {who}")
    if not as_json:
        summary = f"{total.agree} agree, {total.near} one evaluation later, {len(total.differences)} differ"
        click.echo(f"{format_count(total.agree + total.near + len(total.differences), 'transition')}: {summary}")
    if total.differences:
        return 1
    return EXIT_REFUSED if is_refused else 0
