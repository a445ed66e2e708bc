"""`watcher providers`: every provider, and the way to write one as a file: its mistakes, its readings."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from watcher.cli.completion import complete_providers
from watcher.cli.context import find_paths, load_effective_config, load_own_providers
from watcher.cli.output import echo, echo_error, format_columns, format_count, get_output_width
from watcher.config.file import read_text
from watcher.config.loader import ProviderSettings, load_providers
from watcher.core.formatting import format_amount, format_duration, format_percent
from watcher.core.model import PollFailure, Reading, Request, Response, Snapshot
from watcher.core.redaction import Redactor
from watcher.core.rules.diagnostics import Diagnostic, format_diagnostics, sanitize_for_terminal, suggest_word
from watcher.credentials import Credential, HostInfo
from watcher.errors import ConfigError, ProviderError, ShapeChangedError, UsageError
from watcher.polling import fetch
from watcher.providers import Provider, registry
from watcher.providers.registry import PROVIDERS
from watcher.status.builder import build_window_status
from watcher.status.document import format_json
from watcher.system import clock, environment
from watcher.system.paths import list_toml_files

if TYPE_CHECKING:
    from watcher.providers.definition import Definition, Value

SCHEMA_NAME = "watcher.readings.v1"
MAX_BODY_BYTES = 2 << 20
_VALUE_NAMES = ("used_percent", "used", "limit", "remaining", "resets_at")


@click.group()
def providers() -> None:
    """List every provider; check and test one as a file.

    \b
    watcher providers list                          which are on, what is asked
    watcher providers check acme.toml               every mistake, with its place
    watcher providers test acme --body answer.json  readings of a saved answer
    """


# --- list -------------------------------------------------------------------------------------------------------------


@providers.command("list", short_help="Every provider: on or off, its login, what it is asked.")
def list_command() -> None:
    """List every provider, built in or by file: whether it is on, why, where its login is, what is asked how often.

    Looks for logins and sends no request.
    """
    config = load_effective_config(with_secrets=True)
    host_info, redact = environment.read_host_info(), Redactor(config.secrets)
    rows = [_describe_provider(each, config.providers[each.id], host_info) for each in PROVIDERS.values()]
    shown = [tuple(map(redact, row)) for row in rows]
    for line in format_columns([("provider", "", "why", "every", "asks"), *shown], width=get_output_width()):
        echo(line.rstrip())


def _describe_provider(provider: Provider, settings: ProviderSettings, host_info: HostInfo) -> tuple[str, ...]:
    is_on, why = describe_login(provider, settings, host_info)
    asked = [fetch.replace_origin(url, settings.base_url) for url in provider.addresses]
    asks = ", ".join(asked) or ("" if provider.path else "a database on this machine")
    return provider.id, "on" if is_on else "off", why, format_duration(settings.pace.every), asks


def describe_login(provider: Provider, settings: ProviderSettings, host_info: HostInfo) -> tuple[bool, str]:
    """Whether a provider is polled, and why: its logins and where they are, or what to do."""
    if settings.enabled is False:
        return False, "switched off in the config"
    found = fetch.find_logins(provider, host_info, settings)
    if found.credentials:
        places = (
            f"{each.source_name} ({', '.join(filter(None, (each.account_name, each.path)))})"
            for each in found.credentials
        )
        return True, f"login: {sanitize_for_terminal(', '.join(dict.fromkeys(places)), 200)}"
    if found.failures:
        return False, sanitize_for_terminal(found.failures[0].message, 300)
    searched = f" in {', '.join(provider.token_places)}" if provider.token_places else f"; {provider.sign_in_hint}"
    return False, f"no login{searched}"


# --- check ------------------------------------------------------------------------------------------------------------


@providers.command(short_help="Find every mistake in files of providers.")
@click.argument("file", required=False, metavar="[FILE.toml]")
def check(file: str | None) -> None:
    """Find every mistake at once: in FILE, else in all files of the folder providers/.

    \b
    Exit code:  0  no mistake
               78  mistakes, each with file, line, column and what would be valid
    """
    if file is None:
        paths = find_paths()
        mistakes = load_providers(paths)
        count = len(list_toml_files(paths.providers_dir)) if not mistakes else 0
    else:
        mistakes, count = _read_definition(Path(file))[1], 1
    if mistakes:
        raise ConfigError(format_diagnostics(mistakes))
    click.echo(f"{format_count(count, 'file')} of providers: no mistake")


def _read_definition(path: Path) -> "tuple[Definition | None, list[Diagnostic]]":
    from watcher.providers.definition import read_definition  # noqa: PLC0415 - jmespath: only where such a file is

    if not path.exists():
        raise UsageError(f"cannot read {path}: there is no such file")
    problems: list[Diagnostic] = []
    text = read_text(path, problems)
    return (None, problems) if text is None else read_definition(text, str(path))


# --- test -------------------------------------------------------------------------------------------------------------


def _complete_tested(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [*complete_providers(context, parameter, incomplete), CompletionItem(incomplete, type="file")]


@providers.command("test", short_help="The readings that a provider makes of an answer.")
@click.argument("file_or_id", shell_complete=_complete_tested)
@click.option("--body", metavar="FILE", help="A saved answer (JSON); `-` is stdin. Else it is asked.")
@click.option("--json", "as_document", is_flag=True, help=f"One JSON object ({SCHEMA_NAME}).")
def test_command(file_or_id: str, body: str | None, *, as_document: bool) -> int:
    """Show the readings that a provider makes of a saved answer, or of a real one, and where each value is from.

    A saved answer is the body itself. Of several requests it is `{"main": BODY, "other": BODY}`, by their names; with
    headers, `{"main": {"headers": {...}, "body": BODY}}`.

    \b
    Exit code:  0  readings
                1  the provider makes an error of it
               78  the file has mistakes
    """
    load_own_providers()
    provider = _find_provider(file_or_id)
    definition = provider.load_definition() if provider.load_definition is not None else None
    now = clock.utc_now()
    answers: list[Response] = []
    if body is None:
        outcome = _poll(provider, answers)
    elif definition is None:
        raise UsageError(f"--body: {provider.id} is built in; its answers are tested by the program itself")
    else:
        send = _replay(definition, _load_answers(body, definition, now))
        variables = _NamedVariables()
        login = Credential(provider=provider.id, source_name="test", path="test", token="test", extra=variables)  # noqa: S106 - no login is needed
        outcome = _poll_account(provider, login, send, answers, base_url=None)
    if as_document:
        click.echo(format_json(_make_document(provider, outcome, now)))
    elif isinstance(outcome, Snapshot):
        for line in _explain(definition, outcome, answers) if definition is not None else _show(outcome.readings):
            echo(line)
        if outcome.note:
            echo(f"note: {outcome.note}")
    else:
        echo_error(outcome.message)
    return 1 if isinstance(outcome, PollFailure) else 0


class _NamedVariables(dict[str, str]):
    """A value for every variable of an address, none of which is asked: the answer is saved."""

    def get(self, key: str, default: Any = None) -> Any:
        return "https://127.0.0.1" if key.startswith("env:") else default


def _find_provider(text: str) -> Provider:
    """The provider of that id or file.

    Raises:
        ConfigError: the file has mistakes.
        UsageError: there is neither.
    """
    if text in PROVIDERS:
        return PROVIDERS[text]
    path = Path(text)
    if not path.exists() and path.suffix != ".toml":
        hint = suggest_word(text, PROVIDERS, "`watcher providers list` shows all")
        raise UsageError(f"no provider and no file is called `{sanitize_for_terminal(text)}`; {hint}")
    definition, mistakes = _read_definition(path)
    if definition is None or mistakes:
        raise ConfigError(format_diagnostics(mistakes))
    return registry.make_provider(definition, str(path))


def _load_answers(name: str, definition: "Definition", now: datetime) -> dict[str, Response]:
    """Request -> its saved answer."""
    try:
        with click.open_file(name, "rb") as file:
            content = json.loads(file.read(MAX_BODY_BYTES))
    except OSError as error:
        raise UsageError(f"--body: cannot read {name}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"--body: {name} is not JSON: save the answer's body as it came") from None
    names = [each.name for each in definition.request]
    if not (isinstance(content, dict) and content and set(content) <= set(names)):
        content = {names[0]: content}
    answers = {}
    for request, value in content.items():
        has_headers = (
            isinstance(value, dict)
            and value
            and set(value) <= {"headers", "body"}
            and isinstance(value.get("headers", {}), dict)
        )
        whole = value if has_headers else {"body": value}
        headers = {str(key).lower(): str(text) for key, text in whole.get("headers", {}).items()}
        data = json.dumps(whole.get("body")).encode()
        answers[request] = Response(status=200, headers=headers, body=data, received_at=now)
    return answers


def _replay(definition: "Definition", saved: dict[str, Response]) -> Callable[[Request], Response]:
    """Gives each request, in order, its saved answer."""
    names = iter([each.name for each in definition.request])

    def send(_request: Request) -> Response:
        name = next(names)
        if name not in saved:
            raise ShapeChangedError(f"{definition.name}: the saved answer has none for the request `{name}`")
        return saved[name]

    return send


def _poll(provider: Provider, answers: list[Response]) -> Snapshot | PollFailure:
    """One real poll of the first login."""
    settings = load_effective_config(with_secrets=True).providers.get(provider.id)
    surroundings, host_info = environment.create_environment(), environment.read_host_info()
    found = fetch.find_logins(provider, host_info, settings)
    if not found.credentials:
        failure = found.failures[0] if found.failures else None
        message = f"{provider.name}: no login found; {provider.sign_in_hint}"
        return failure or PollFailure(provider=provider.id, at=clock.utc_now(), kind="not_signed_in", message=message)

    base_url = None if settings is None else settings.base_url
    insecure = provider.insecure or (settings is not None and settings.insecure)
    login, send = found.credentials[0], surroundings.send
    return _poll_account(provider, login, send, answers, base_url=base_url, insecure=insecure)


def _poll_account(  # noqa: PLR0913 - what a poll depends on
    provider: Provider,
    login: Credential,
    send: Callable[[Request], Response],
    answers: list[Response],
    *,
    base_url: str | None,
    insecure: bool = True,
) -> Snapshot | PollFailure:
    """One poll; `answers` gets the answer of each request, one with the status 0 for a request that failed."""

    def send_and_record(request: Request) -> Response:
        answers.append(Response(status=0, received_at=clock.utc_now()))
        answers[-1] = send(request)
        return answers[-1]

    return fetch.poll_account(
        provider,
        login,
        now=clock.utc_now,
        send=send_and_record,
        read_database=environment.create_environment().read_database,
        provider_state={},
        base_url=base_url,
        insecure=insecure,
    )


def _make_document(provider: Provider, outcome: Snapshot | PollFailure, now: datetime) -> dict[str, Any]:
    """`providers test --json`; `kind` as in `status --json`."""
    document: dict[str, Any] = {"schema": SCHEMA_NAME, "provider": provider.id, "windows": [], "error": None}
    if isinstance(outcome, PollFailure):
        return {**document, "error": {"kind": outcome.kind, "message": outcome.message}}
    windows = [build_window_status(each, f"{provider.id}.{each.window}", None, now) for each in outcome.readings]
    return {**document, "windows": windows}


def _show(readings: tuple[Reading, ...]) -> Iterator[str]:
    for reading in readings:
        yield f"{reading.window}  ({reading.kind})"
        yield from format_columns([(name, _format_value(reading, name)) for name in _VALUE_NAMES], indent="  ")


def _explain(definition: "Definition", outcome: Snapshot, responses: list[Response]) -> Iterator[str]:
    """Each window with its values, and what in the answer each was made of."""
    from watcher.core import expressions  # noqa: PLC0415 - jmespath: only where such a file is
    from watcher.providers import declared  # noqa: PLC0415 - likewise

    answers, evaluator = {}, expressions.Evaluator(definition.name)
    for entry, response in zip(definition.request, responses, strict=False):
        try:
            answers[entry.name] = declared.read_answer(definition, entry, response)
        except ProviderError:
            continue  # an optional one
    for reading, window, row in declared.read_windows(definition, answers, outcome.at):
        place = f"{window.request} {window.source}" + (f", each {window.each}" if window.each else "")
        unlimited = ", unlimited" if reading.unlimited else ""
        yield f"{reading.window}  ({reading.kind}, {reading.unit}{unlimited})  from {place}"
        rows = []
        for name in _VALUE_NAMES:
            sources = [
                f"{key}: {_get_path(value)} = {_format_raw(evaluator.search(_get_path(value), row))}"
                for key in _SOURCES[name]
                if (value := getattr(window, key)) is not None
            ]
            if sources or getattr(reading, name) is not None:
                rows.append((name, _format_value(reading, name), "<- " + ("; ".join(sources) or "derived")))
        yield from format_columns(rows, indent="  ")


_SOURCES = {
    "used_percent": ("used_percent", "remaining_percent", "used_fraction", "remaining_fraction"),
    "used": ("used",),
    "limit": ("limit",),
    "remaining": ("remaining",),
    "resets_at": ("resets_at", "resets_in", "resets"),
}
"""Value of a reading -> the keys of a window that it is made of."""


def _get_path(value: "str | Value") -> str:
    return value if isinstance(value, str) else value.path


def _format_raw(value: Any) -> str:
    return sanitize_for_terminal("nothing" if value is None else json.dumps(value, ensure_ascii=False), 60)


def _format_value(reading: Reading, name: str) -> str:
    value = getattr(reading, name)
    if value is None:
        return "unknown"
    if name == "used_percent":
        return format_percent(value)
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else format_amount(value, reading.unit)
