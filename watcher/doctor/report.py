"""The list of checks, and the report that running them gives."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from watcher.core.redaction import Redactor
from watcher.doctor import Check, DoctorContext, Finding, Verdict, config, fail, machine, providers
from watcher.errors import find_place

SCHEMA_NAME = "watcher.doctor.v1"

CHECKS: tuple[tuple[str, Check], ...] = (
    ("rules", config.check_config),
    ("rules", config.check_unreachable_rules),
    ("rules", config.check_unknown_counts),
    ("logins", providers.check_logins),
    ("answers", providers.check_answers),
    ("channels", config.check_channels),
    ("channels", config.check_desktop),
    ("metrics", machine.check_metrics),
    ("network", machine.check_network),
    ("watching", machine.check_login_item),
    ("watching", machine.check_daemon),
    ("database", machine.check_database),
    ("files", machine.check_permissions),
    ("files", machine.check_secret_files),
    ("files", machine.check_tool_login_files),
    ("clock", machine.check_clock),
    ("clock", machine.check_local_time_zone),
)
"""Group and check, in the order in which they are shown."""


class Report(Struct, frozen=True, kw_only=True):
    """The document of `watcher doctor --json`."""

    schema: str = SCHEMA_NAME
    generated_at: datetime
    ok: bool
    checks: list[Finding]


def run_checks(
    context: DoctorContext,
    redactor: Redactor,
    provider: str | None = None,
    checks: Sequence[tuple[str, Check]] = CHECKS,
) -> Report:
    """All findings without secrets; only those of one provider if it is named."""
    found = [
        _redact_finding(replace(finding, group=group), redactor)
        for group, check in checks
        for finding in _run_check(check, context)
        if provider is None or finding.provider == provider
    ]
    is_ok = all(finding.verdict is not Verdict.FAIL for finding in found)
    return Report(generated_at=context.now, ok=is_ok, checks=found)


def _run_check(check: Check, context: DoctorContext) -> Iterable[Finding]:
    """The check's findings. An exception becomes a finding without its text, which may hold a secret."""
    try:
        yield from check(context)
    except Exception as error:  # noqa: BLE001 - one broken check must not stop the others
        if isinstance(error, OSError) and error.filename is not None:
            cure = machine.format_list_command(error.filename)
            yield fail(str(error.filename), f"cannot be read: {error.strerror}", cure)
        else:
            message = f"this check itself failed ({type(error).__name__} at {find_place(error)})"
            yield fail(check.__name__, message, "report it, please")


def _redact_finding(finding: Finding, redactor: Redactor) -> Finding:
    texts = {name: redactor(getattr(finding, name)) for name in ("subject", "message", "cure")}
    return replace(finding, **texts, facts={name: redactor(fact) for name, fact in finding.facts.items()})
