"""Every check, in the order in which they are shown, and how they are made. Add a check here, and nowhere else."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from watcher.core.redaction import Redactor
from watcher.doctor import (
    SCHEMA_NAME,
    Check,
    DoctorContext,
    Finding,
    Report,
    Verdict,
    channels,
    daemon,
    machine,
    providers,
    rules,
)

CHECKS: tuple[tuple[str, Check], ...] = (
    (rules.RULES_GROUP, rules.check_config),
    (rules.RULES_GROUP, rules.check_unreachable_rules),
    (rules.RULES_GROUP, rules.check_unknown_counts),
    (providers.LOGINS_GROUP, providers.check_logins),
    (providers.ANSWERS_GROUP, providers.check_answers),
    (channels.CHANNELS_GROUP, channels.check_channels),
    (channels.CHANNELS_GROUP, channels.check_desktop),
    (daemon.DAEMON_GROUP, daemon.check_login_item),
    (daemon.DAEMON_GROUP, daemon.check_daemon),
    (machine.DATABASE_GROUP, machine.check_database),
    (machine.FILES_GROUP, machine.check_permissions),
    (machine.FILES_GROUP, machine.check_secret_files),
    (machine.FILES_GROUP, machine.check_tool_login_files),
    (machine.CLOCK_GROUP, machine.check_clock),
    (machine.CLOCK_GROUP, machine.check_local_time_zone),
)
"""(group, check)."""


def run_checks(
    context: DoctorContext,
    redactor: Redactor,
    provider: str | None = None,
    checks: Sequence[tuple[str, Check]] = CHECKS,
) -> Report:
    """All findings, with every secret taken out; of one provider alone where it is named."""
    found = [
        _redact_finding(finding, redactor)
        for group, check in checks
        for finding in _run_check(group, check, context)
        if provider is None or finding.provider == provider
    ]
    return Report(
        schema=SCHEMA_NAME,
        generated_at=context.now,
        ok=all(finding.verdict is not Verdict.FAIL for finding in found),
        checks=found,
    )


def _run_check(group: str, check: Check, context: DoctorContext) -> Iterable[Finding]:
    """What a check finds. One that breaks is a finding too, and stops no other; its error's text may hold a secret."""
    try:
        yield from check(context)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with this machine, the rest is worth knowing
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        yield Finding(
            group=group,
            subject=check.__name__,
            verdict=Verdict.FAIL,
            message=f"this check itself failed ({type(error).__name__}{where})",
            cure="report it, please",
        )


def _redact_finding(finding: Finding, redactor: Redactor) -> Finding:
    return replace(
        finding,
        subject=redactor(finding.subject),
        message=redactor(finding.message),
        cure=redactor(finding.cure),
        facts={name: redactor(fact) for name, fact in finding.facts.items()},
    )


def group_findings(findings: Iterable[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """The findings group by group, in the order of the checks."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.group, []).append(finding)
    yield from groups.items()
