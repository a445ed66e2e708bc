"""`watcher doctor`: every check with its verdict, a sentence, and the command that fixes it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import click

from watcher.cli.completion import complete_providers
from watcher.cli.context import load_own_providers
from watcher.cli.output import echo, format_columns, get_output_width, wrap_line
from watcher.core.redaction import Redactor
from watcher.core.rules.diagnostics import sanitize_for_terminal, suggest_word
from watcher.doctor import Finding, Verdict
from watcher.doctor.runner import Report, build_context, run_checks
from watcher.providers.registry import PROVIDERS
from watcher.status.document import format_json
from watcher.system import environment

_COLOURS = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}
_INDENT = "        "
_MIN_WIDTH = 60


@click.command()
@click.option("--json", "as_document", is_flag=True, help="One JSON object (watcher.doctor.v1).")
@click.option(
    "--provider", shell_complete=complete_providers, help="One provider only, with everything its login says."
)
@click.pass_context
def doctor(context: click.Context, *, as_document: bool, provider: str | None) -> None:
    """Check everything, and say how to fix it.

    Config and rules, logins, what each provider answered last, channels and the desktop's notification service, the
    login item and the daemon, the database, permissions and the clock. Nothing is changed, nothing is sent, and no
    provider is polled; secrets are masked.

    \b
    watcher doctor
    watcher doctor --provider gemini_cli     whose login, until when, its scopes
    watcher doctor --json | jq '.checks[] | select(.verdict != "ok")'

    \b
    Exit code:  0  all is well, or there are warnings only
                1  something failed: an alert may be missed
    """
    load_own_providers()
    if provider is not None and provider not in PROVIDERS:
        hint = suggest_word(provider, tuple(PROVIDERS))
        raise click.UsageError(f"--provider: no provider is called `{provider}`; {hint}")
    redact = Redactor()
    doctor_context = build_context(environment.create_environment(), redact)
    report = run_checks(doctor_context, redact, provider)
    if provider is not None and not report.checks and not as_document:
        echo(f"{provider}: no login found, so it is not polled; {PROVIDERS[provider].sign_in_hint}")
    if doctor_context.store is not None:
        doctor_context.store.close()
    if as_document:
        click.echo(format_json(report))
    else:
        width = max(get_output_width(), _MIN_WIDTH)
        for line in format_doctor_report(report, width, show_facts=provider is not None):
            echo(line)
    context.exit(0 if report.ok else 1)


def format_doctor_report(report: Report, width: int, *, show_facts: bool) -> Iterator[str]:
    """The report for people. `show_facts`: with every fact of each login."""
    for group, findings in groupby(report.checks, attrgetter("group")):
        yield click.style(group, bold=True)
        for finding in findings:
            yield from _format_finding(finding, width)
            if show_facts:
                yield from _format_facts(finding, width)
        yield ""
    yield _format_summary(report.checks)


def _format_finding(finding: Finding, width: int) -> Iterator[str]:
    verdict = click.style(f"{finding.verdict:<4}", fg=_COLOURS[finding.verdict], bold=finding.verdict is Verdict.FAIL)
    first, *rest = _wrap_text(f"{finding.subject}: {finding.message}", width)
    yield f"  {verdict}  {first}"
    yield from (_INDENT + line for line in rest)
    if finding.cure:
        first, *rest = _wrap_text(f"-> {finding.cure}", width)
        yield _INDENT + click.style(first, bold=True)
        yield from (_INDENT + "   " + click.style(line, bold=True) for line in rest)


def _wrap_text(text: str, width: int) -> list[str]:
    """Lines broken between words, so that paths and commands can be copied."""
    text = sanitize_for_terminal(" ".join(text.split()), 2000)
    return wrap_line(text, width - len(_INDENT) - 3, indent=0)


def _format_facts(finding: Finding, width: int) -> Iterator[str]:
    if finding.facts:
        yield from format_columns(
            [(name, sanitize_for_terminal(fact, 500)) for name, fact in finding.facts.items()], _INDENT, width=width
        )


def _format_summary(findings: Sequence[Finding]) -> str:
    count = Counter(finding.verdict for finding in findings)
    failed, warned = count[Verdict.FAIL], count[Verdict.WARN]
    parts = [f"{count[Verdict.OK]} ok", f"{warned} to look at" if warned else "", f"{failed} failed" if failed else ""]
    return ", ".join(part for part in parts if part)
