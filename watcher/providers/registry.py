"""Every provider, in the order in which they are shown: the built-in ones, the shipped catalogue, the user's own files.

To add a built-in one, import it and name it here. The catalogue is known by its index: a file of it is read, and
JMESPath imported, when the first request is made. Nothing outside of this module knows where a provider comes from.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from watcher.core.model import make_pace
from watcher.core.rules.diagnostics import Diagnostic
from watcher.core.rules.vocabulary import (
    ANY_SLUG,
    PROVIDER_WINDOWS,
    ProviderWindows,
    Unit,
    is_currency,
    parse_duration,
)
from watcher.credentials import Credential, HostInfo, places
from watcher.errors import NotSignedInError
from watcher.providers import (
    Conversation,
    Overrides,
    Provider,
    antigravity,
    claude,
    codex,
    copilot,
    gemini_cli,
    nano_gpt,
)

_MODULES = (claude, codex, copilot, nano_gpt, gemini_cli, antigravity)

PROVIDERS: dict[str, Provider] = {module.PROVIDER.id: module.PROVIDER for module in _MODULES}
RESERVED_IDS = frozenset(PROVIDERS)

CATALOGUE_DIR = Path(__file__).parent / "catalogue"
INDEX_FILE = CATALOGUE_DIR / "index.json"
PLACE_KINDS = places.KINDS
PLACEHOLDER_PATTERN = re.compile(r"\{(env:[A-Za-z_][A-Za-z0-9_]*|now|month_start)\}")

_DEFAULT_FLOOR, _DEFAULT_CEILING = timedelta(minutes=2), timedelta(minutes=30)


class ProviderHead(Struct, frozen=True, kw_only=True):
    """The keys of a provider's file outside of its tables."""

    id: str
    name: str
    page: str = ""
    sign_in: str = ""
    every: str = "5m"
    floor: str | None = None
    ceiling: str | None = None
    primary: str | None = None
    token: tuple[str, ...]
    insecure: bool = False


class ProviderSummary(ProviderHead, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a provider by file before its first request; the index of the catalogue holds one for each."""

    urls: tuple[str, ...]
    windows: dict[str, str] = {}  # id -> unit; empty: only an answer can tell
    names_windows: bool = False  # an answer may hold other windows
    path: str = ""


def load_files(files: Iterable[tuple[str, str | Diagnostic]]) -> list[Diagnostic]:
    """Put the user's own providers in force, in place of those of the last call.

    A file is given as its path and its text, or why it cannot be read.

    A file with a mistake becomes a provider that reports it at every poll: the others go on.

    Returns:
        Every mistake in all of the files.
    """
    shipped = read_index()
    registered = {each.id: _make_provider(each, partial(read_shipped, each.id)) for each in shipped}
    summaries = {each.id: each for each in shipped}
    problems: list[Diagnostic] = []
    own: dict[str, str] = {}
    for path, text in files:
        found, mistakes = _read_own(path, text, own)
        if found is not None and not mistakes:
            own[found.id] = path
            summaries[found.id] = summary = _summarize(found, path)
            registered[found.id] = _make_provider(summary, lambda found=found: found)
            continue
        problems += mistakes
        id_ = _choose_broken_id(path, {*RESERVED_IDS, *registered})
        registered[id_] = _make_broken_provider(id_, path, str(mistakes[0]).splitlines()[0])
    # what is gone stays, without a login, for as long as the process: a poll of it may be in progress
    gone = {id_: each for id_, each in PROVIDERS.items() if id_ not in RESERVED_IDS and id_ not in registered}
    PROVIDERS.update(registered)
    PROVIDER_WINDOWS.update({id_: _make_windows(summaries.get(id_)) for id_ in registered})
    for id_, provider in gone.items():
        PROVIDERS[id_] = msgspec.structs.replace(provider, find_credentials=_find_nothing, is_common=False, path="")
    return problems


def _read_own(path: str, text: str | Diagnostic, taken: dict[str, str]) -> tuple[Any, list[Diagnostic]]:
    """The definition in the user's file, and its mistakes."""
    if isinstance(text, Diagnostic):
        return None, [text]
    from watcher.providers.definition import read_definition  # noqa: PLC0415 - jmespath: only where such a file is

    found, mistakes = read_definition(text, path)
    if found is not None and found.id in taken:
        message = f"the id `{found.id}` is taken by {taken[found.id]}; choose another id"
        mistakes = [Diagnostic(path=path, line=1, column=1, message=message)]
    return found, mistakes


def _summarize(definition: Any, path: str) -> ProviderSummary:
    from watcher.providers.definition import summarize  # noqa: PLC0415 - likewise

    return summarize(definition, path)


@cache
def read_index() -> tuple[ProviderSummary, ...]:
    """The shipped catalogue, without its files."""
    return msgspec.json.decode(INDEX_FILE.read_bytes(), type=tuple[ProviderSummary, ...])


@cache
def read_shipped(id_: str) -> Any:
    """The definition of a catalogue's file."""
    from watcher.providers.definition import read_definition  # noqa: PLC0415 - jmespath: only where it is on

    path = CATALOGUE_DIR / f"{id_}.toml"
    found, mistakes = read_definition(path.read_text("utf-8"), str(path))
    if found is None:
        raise ValueError(str(mistakes[0]))  # a test reads every file
    return found


def make_provider(definition: Any, path: str) -> Provider:
    """The provider of a definition that is not in force: `watcher providers test` tries it."""
    return _make_provider(_summarize(definition, path), lambda: definition)


def _make_provider(summary: ProviderSummary, load: Any) -> Provider:
    every = parse_duration(summary.every)
    floor = parse_duration(summary.floor) if summary.floor else min(_DEFAULT_FLOOR, every)
    ceiling = parse_duration(summary.ceiling) if summary.ceiling else max(_DEFAULT_CEILING, every)

    def fetch_usage(credential: Credential, now: datetime, _state: Any) -> Conversation:
        from watcher.providers.declared import fetch_usage  # noqa: PLC0415 - jmespath: only where it is on

        return fetch_usage(load(), credential, now)

    return Provider(
        id=summary.id,
        name=summary.name,
        usage_page=summary.page,
        sign_in_hint=summary.sign_in,
        find_credentials=partial(_find_credentials, summary),
        fetch_usage=fetch_usage,
        pace=make_pace(floor, every, ceiling),
        addresses=summary.urls,
        token_places=summary.token,
        path=summary.path,
        insecure=summary.insecure,
        is_common=bool(summary.path),
        load_definition=load,
    )


def _find_credentials(summary: ProviderSummary, host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """The token of the config, else the one of the first place that has it."""
    found = places.Token("config", "config", overrides.token) if overrides.token else None
    found = found or places.find_token(host_info, summary.token, overrides.login_path)
    if found is None:
        return []
    names = (match[1] for url in summary.urls for match in PLACEHOLDER_PATTERN.finditer(url) if ":" in match[1])
    variables = {name: host_info.env.get(name.partition(":")[2], "").strip() for name in names}
    source, path, token = found
    return [Credential(provider=summary.id, source_name=source, path=path, token=token, extra=variables)]


def _find_nothing(_host_info: HostInfo, _overrides: Overrides) -> Sequence[Credential]:
    return []


def _make_windows(summary: ProviderSummary | None) -> ProviderWindows:
    if summary is None or not summary.windows:
        return ProviderWindows(primary=(), known=(), others_pattern=ANY_SLUG)
    primary = dict.fromkeys((summary.primary or next(iter(summary.windows)), *summary.windows))
    units = {id_: _get_rule_unit(unit) for id_, unit in summary.windows.items()}
    others = ANY_SLUG if summary.names_windows else ""
    return ProviderWindows(primary=tuple(primary), known=tuple(summary.windows), others_pattern=others, units=units)


def _get_rule_unit(unit: str) -> Unit:
    if unit in ("", "percent"):
        return Unit.AMOUNT
    return Unit.MONEY if is_currency(unit) else Unit.COUNT


# --- files with a mistake ---------------------------------------------------------------------------------------------


def _choose_broken_id(path: str, taken: set[str]) -> str:
    """The file's name as an id, as rules may name it; another if a provider has that one."""
    stem = re.sub(r"[^a-z0-9]+", "_", Path(path).stem.lower()).strip("_") or "provider"
    names = (stem, f"file_{stem}", *(f"file_{stem}_{number}" for number in range(2, len(taken) + 2)))
    return next(name for name in names if name[0].isalpha() and name not in taken)


def _make_broken_provider(id_: str, path: str, mistake: str) -> Provider:
    """A provider that only reports what is wrong with its file."""

    def find_credentials(_host_info: HostInfo, _overrides: Overrides) -> Sequence[Credential]:
        raise NotSignedInError(f"{mistake} (see `watcher providers check`)")

    hint = "watcher providers check"
    summary = ProviderSummary(id=id_, name=Path(path).name, sign_in=hint, token=(), urls=(), path=path)
    return msgspec.structs.replace(_make_provider(summary, None), find_credentials=find_credentials)


load_files(())
