"""`watcher doctor`: every check with its verdict, a sentence, and the command that mends it."""

from collections import Counter
from collections.abc import Iterator, Sequence

import click

from watcher import doors
from watcher.cli.columns import columns, room, say, wrapped
from watcher.core.diagnostics import visible
from watcher.core.redaction import Redactor
from watcher.doctor import Finding, Report, Verdict
from watcher.doctor.registry import by_group, examine
from watcher.doctor.scene import look
from watcher.providers.registry import PROVIDERS
from watcher.status_document import as_json

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
_INDENT = "        "
_LEAST_WIDTH = 60


@click.command()
@click.option("--json", "as_document", is_flag=True, help="One JSON object (watcher.doctor.v1).")
@click.option("--provider", type=click.Choice(list(PROVIDERS)), help="One provider alone, with all its login says.")
@click.pass_context
def doctor(context: click.Context, *, as_document: bool, provider: str | None) -> None:
    """Check everything, and say how to mend it.

    Config and rules, logins, what each provider answered last, channels and the desktop's notification service, the
    login item and the daemon, the database, permissions and the clock. Nothing is changed, nothing is sent, and no
    provider is asked; secrets are masked.

    \b
    watcher doctor
    watcher doctor --provider gemini_cli     whose login, until when, its scopes
    watcher doctor --json | jq '.checks[] | select(.verdict != "ok")'

    \b
    Exit code:  0  all is well, or there are warnings only
                1  something failed: an alert may be missed
    """
    clean = Redactor()
    scene = look(doors.real(), clean)
    report = examine(scene, clean, provider)
    if scene.store is not None:
        scene.store.close()
    if as_document:
        click.echo(as_json(report))
    else:
        width = max(room(), _LEAST_WIDTH)
        for line in said(report, width, in_full=provider is not None):
            say(line)
    context.exit(0 if report.ok else 1)


def said(report: Report, width: int, *, in_full: bool) -> Iterator[str]:
    """The report for people. `in_full`: with every fact of each login."""
    for group, findings in by_group(report.checks):
        yield click.style(group, bold=True)
        for finding in findings:
            yield from _finding(finding, width)
            if in_full:
                yield from _facts(finding, width)
        yield ""
    yield _summary(report.checks)


def _finding(finding: Finding, width: int) -> Iterator[str]:
    word = click.style(f"{finding.verdict:<4}", fg=_COLOURS[finding.verdict], bold=finding.verdict is Verdict.FAIL)
    first, *rest = _wrapped(f"{finding.subject}: {finding.message}", width)
    yield f"  {word}  {first}"
    yield from (_INDENT + line for line in rest)
    if finding.cure:
        first, *rest = _wrapped(f"-> {finding.cure}", width)
        yield _INDENT + click.style(first, bold=True)
        yield from (_INDENT + "   " + click.style(line, bold=True) for line in rest)


def _wrapped(text: str, width: int) -> list[str]:
    """Paths and commands are never broken: they are there to be copied."""
    clear = visible(" ".join(text.split()), 2000)
    return wrapped(clear, width - len(_INDENT) - 3, indent=0)


def _facts(finding: Finding, width: int) -> Iterator[str]:
    if finding.facts:
        yield from columns([(name, visible(fact, 500)) for name, fact in finding.facts.items()], _INDENT, width=width)


def _summary(findings: Sequence[Finding]) -> str:
    count = Counter(finding.verdict for finding in findings)
    failed, warned = count[Verdict.FAIL], count[Verdict.WARN]
    parts = [f"{count[Verdict.OK]} ok", f"{warned} to look at" if warned else "", f"{failed} failed" if failed else ""]
    return ", ".join(part for part in parts if part)
