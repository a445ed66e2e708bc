"""Collects what the checks look at, the `DoctorContext` of this machine; the list of checks, and how they are run."""

import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from watcher.agent.managers import MANAGERS, make_login_item
from watcher.config import loader as configuration
from watcher.config import secrets
from watcher.config.loader import Config
from watcher.core.redaction import Redactor
from watcher.credentials import HostInfo
from watcher.doctor import Check, DesktopUnavailableError, DoctorContext, Finding, Verdict, fail, machine, providers
from watcher.doctor import config as config_checks
from watcher.errors import ConfigError, StoreError, find_place
from watcher.notifiers.desktop import linux, windows
from watcher.polling import fetch
from watcher.polling.fetch import FoundLogins
from watcher.providers import Overrides
from watcher.providers.registry import PROVIDERS
from watcher.status.builder import ConfigFacts, build_status, collect_config_facts
from watcher.status.document import StatusDocument
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system.environment import Environment
from watcher.system.lock import Lock
from watcher.system.paths import Paths, resolve_paths

_DESKTOP_PROGRAMS = {"darwin": ("terminal-notifier", "osascript"), "win32": ("powershell", "pwsh")}


def build_context(environment: Environment, redactor: Redactor) -> DoctorContext:
    """The context of this machine. Every secret that was read is added to `redactor`."""
    host_info = environment.read_host_info()
    paths = resolve_paths(host_info.env, host_info.home)
    now = environment.clock.now()
    config, config_error = _load_config(host_info, paths)
    if config is not None:
        environment.apply_network(config.network)
    found_logins = {
        name: fetch.find_logins(
            provider,
            host_info,
            Overrides() if config is None else config.providers[name],
            now=environment.clock.now,
        )
        for name, provider in PROVIDERS.items()
    }
    redactor.add_secrets(config.secrets if config is not None else ())
    redactor.add_secrets(_list_secrets(found_logins))
    store, store_error = _open_store(paths, environment)
    facts = ConfigFacts() if config is None else collect_config_facts(config)
    return DoctorContext(
        paths=paths,
        host_info=host_info,
        now=now,
        config=config,
        config_error=config_error,
        found_logins=found_logins,
        store=store,
        store_error=store_error,
        status=StatusDocument(generated_at=now) if store is None else build_status(store, facts, now=now),
        holder_pid=Lock(paths.state_dir).read_holder_pid(),
        manager=MANAGERS.get(host_info.platform),
        agent_item=make_login_item(host_info, paths.state_dir),
        send=environment.send,
        query_desktop=partial(describe_desktop, host_info),
    )


def _load_config(host_info: HostInfo, paths: Paths) -> tuple[Config | None, str]:
    resolver = secrets.make_secret_resolver(host_info)
    try:
        return configuration.load_config(paths, resolver, host_info.home), ""
    except ConfigError as error:
        return None, str(error)


def _list_secrets(found_logins: dict[str, FoundLogins]) -> list[str]:
    credentials = [each for found in found_logins.values() for each in found.credentials]
    tokens = [secret for each in credentials for secret in (each.token, each.refresh_token)]
    return tokens + [
        each.extra[name] for each in credentials for name in ("id_token", "oauth_blob") if name in each.extra
    ]


def _open_store(paths: Paths, environment: Environment) -> tuple[Store | None, str]:
    """The store, or why there is none and what to do."""
    path = paths.state_dir / DATABASE_FILE_NAME
    try:
        store = Store(path, now=environment.clock.now(), read_only=True)
    except StoreError as error:
        return None, str(error)
    damage = store.check_integrity()
    if not damage:
        return store, ""
    store.close()  # its content is not reliable, and any further read may fail
    return None, f"it is damaged ({damage[0]}): end the watcher, move {path} away, start it again"


def describe_desktop(host_info: HostInfo) -> str:
    """What shows notifications on this machine.

    Raises:
        DesktopUnavailableError: nothing does.
    """
    programs = _DESKTOP_PROGRAMS.get(host_info.platform)
    if programs is not None:
        found = [name for name in programs if shutil.which(name, path=host_info.env.get("PATH"))]
        if not found:
            raise DesktopUnavailableError(f"none of {', '.join(programs)} is on PATH; fix PATH where the watcher runs")
        return f"shown by {found[0]}; the system does not report whether a notification was seen"
    from watcher.notifiers.desktop.dbus_connection import NoReplyError, UnreachableError  # noqa: PLC0415 - heavy

    try:
        return f"{linux.get_server_info(host_info.env)} answers on the session bus"
    except (NoReplyError, UnreachableError) as error:
        program = windows.find_wsl_powershell(host_info.env) if windows.is_wsl(host_info.env) else None
        if program is None:
            raise DesktopUnavailableError(str(error)) from None
        return f"shown by Windows ({program}), which does not report whether a notification was seen"


# --- the report -------------------------------------------------------------------------------------------------------

SCHEMA_NAME = "watcher.doctor.v1"

CHECKS: tuple[tuple[str, Check], ...] = (
    ("rules", config_checks.check_config),
    ("rules", config_checks.check_unreachable_rules),
    ("rules", config_checks.check_unknown_counts),
    ("logins", providers.check_logins),
    ("answers", providers.check_answers),
    ("channels", config_checks.check_channels),
    ("channels", config_checks.check_desktop),
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
