"""Every check, in the order in which they are shown, and how they are made. Add a check here, and nowhere else."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from watcher.core.redaction import Redactor
from watcher.doctor import (
    SCHEMA,
    Check,
    Finding,
    Report,
    Scene,
    Verdict,
    answers,
    channels,
    clock,
    database,
    files,
    logins,
    rules,
    watching,
)

CHECKS: tuple[tuple[str, Check], ...] = (
    (rules.GROUP, rules.config),
    (rules.GROUP, rules.unreachable),
    (rules.GROUP, rules.uncounted),
    (logins.GROUP, logins.logins),
    (answers.GROUP, answers.answers),
    (channels.GROUP, channels.channels),
    (channels.GROUP, channels.desktop),
    (watching.GROUP, watching.agent),
    (watching.GROUP, watching.daemon),
    (database.GROUP, database.database),
    (files.GROUP, files.permissions),
    (files.GROUP, files.secrets),
    (files.GROUP, files.tools),
    (clock.GROUP, clock.clock),
    (clock.GROUP, clock.zone),
)
"""(group, check)."""


def examine(
    scene: Scene, clean: Redactor, provider: str | None = None, checks: Sequence[tuple[str, Check]] = CHECKS
) -> Report:
    """All findings, with every secret taken out; of one provider alone where it is named."""
    found = [
        _cleaned(finding, clean)
        for group, check in checks
        for finding in _made(group, check, scene)
        if provider is None or finding.provider == provider
    ]
    return Report(
        schema=SCHEMA,
        generated_at=scene.now,
        ok=all(finding.verdict is not Verdict.FAIL for finding in found),
        checks=found,
    )


def _made(group: str, check: Check, scene: Scene) -> Iterable[Finding]:
    """What a check finds. One that breaks is a finding too, and stops no other; its error's text may hold a secret."""
    try:
        yield from check(scene)
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


def _cleaned(finding: Finding, clean: Redactor) -> Finding:
    return replace(
        finding,
        subject=clean(finding.subject),
        message=clean(finding.message),
        cure=clean(finding.cure),
        facts={name: clean(fact) for name, fact in finding.facts.items()},
    )


def by_group(findings: Iterable[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """The findings group by group, in the order of the checks."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.group, []).append(finding)
    yield from groups.items()
