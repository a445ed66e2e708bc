"""`[metrics]`: what is exported for Prometheus, and how. Off unless the table is there."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct, structs

from watcher.config.file import ConfigFile, MetricsTable, PushTable
from watcher.config.secrets import ConfigSecrets, is_loopback_url
from watcher.core.rules.vocabulary import parse_duration
from watcher.system.files import make_private_folder
from watcher.system.paths import expand_home

RESERVED_LABELS = frozenset(
    {"provider", "account", "window", "kind", "rule", "severity", "unit", "outcome", "channel", "version"}
    | {"job", "instance", "le", "quantile"}
)
MIN_TOKEN_LENGTH = 16
MIN_PUSH_EVERY, MAX_PUSH_EVERY = timedelta(seconds=15), timedelta(minutes=2)
SALT_FILE_NAME = "metrics.salt"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

_LABEL_PATTERN = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_ADDRESS_PATTERN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<host>[^\s:\[\]]+)):(?P<port>\d{1,5})")

Identity = Literal["hash", "alias", "name", "none"]


class MetricsLabels(Struct, frozen=True, kw_only=True):
    """How samples are labelled."""

    account: Identity = "hash"
    salt: str = ""  # secret; the same on all machines that share accounts
    aliases: Mapping[str, str] = {}  # account name or key -> label
    extra: Mapping[str, str] = {}  # added to every sample
    lean: bool = False  # fewer samples a window


class PushSettings(Struct, frozen=True, kw_only=True):
    """A push by remote write."""

    url: str
    every: timedelta
    headers: Mapping[str, str]
    instance: Literal["hash", "name", "none"]


class MetricsSettings(Struct, frozen=True, kw_only=True):
    """The exports, each None where it is not configured."""

    labels: MetricsLabels
    listen: tuple[str, int] | None = None
    token: str | None = None
    textfile: Path | None = None
    push: PushSettings | None = None

    @property
    def is_exported(self) -> bool:
        """Whether a running watcher has anything to do: the labels alone may be for a channel `alertmanager`."""
        return any(each is not None for each in (self.listen, self.textfile, self.push))

    def with_salt(self, state_dir: Path) -> "MetricsSettings":
        """The settings with the salt of this machine, where the config has none.

        Raises:
            OSError: it can be neither read nor written.
        """
        if self.labels.salt:
            return self
        return structs.replace(self, labels=structs.replace(self.labels, salt=_load_salt(state_dir)))


def read_metrics(
    table: MetricsTable | None, file: ConfigFile, secrets: ConfigSecrets, home: Path
) -> MetricsSettings | None:
    """The settings; None where there is no table, or a secret is not available (then `secrets.errors` says so)."""
    if table is None:
        return None
    settings = MetricsSettings(
        labels=MetricsLabels(
            account=table.account,
            salt=secrets.resolve_secret(("metrics", "salt"), table.salt) or "",
            aliases=table.aliases,
            extra=_read_labels(table, file),
            lean=table.detail == "lean",
        ),
        listen=_read_address(table, file),
        token=secrets.resolve_secret(("metrics", "token"), table.token),
        textfile=_read_textfile(table, file, home),
        push=_read_push(table.push, file, secrets) if table.push is not None else None,
    )
    missing = [error for key, error in secrets.errors.items() if key.startswith("metrics.")]
    if missing:
        secrets.errors["metrics"] = missing[0]
        return None  # nothing leaves the machine until it is available
    _check_token(settings, file)
    return settings


def _read_labels(table: MetricsTable, file: ConfigFile) -> Mapping[str, str]:
    for name in table.labels:
        if name in RESERVED_LABELS:
            file.add_problem(("metrics", "labels", name), f"`{name}` is a label of the metrics themselves", at_key=True)
        elif not _LABEL_PATTERN.fullmatch(name):
            message = f"`{name}` is no label name: letters, digits and _, no digit first, not __ first"
            file.add_problem(("metrics", "labels", name), message, at_key=True)
    return table.labels


def _read_address(table: MetricsTable, file: ConfigFile) -> tuple[str, int] | None:
    if table.listen is None:
        return None
    found = _ADDRESS_PATTERN.fullmatch(table.listen)
    if found is None or not int(found["port"]) < 1 << 16:
        file.add_problem(("metrics", "listen"), '`listen`: write host and port, such as "127.0.0.1:9188"')
        return None
    return found["v6"] or found["host"], int(found["port"])


def _check_token(settings: MetricsSettings, file: ConfigFile) -> None:
    """A reader on another machine needs a token; a short one can be guessed."""
    if settings.token is not None and len(settings.token) < MIN_TOKEN_LENGTH:
        file.add_problem(("metrics", "token"), f"`token` has fewer than {MIN_TOKEN_LENGTH} characters")
    elif settings.listen is not None and settings.listen[0] not in LOOPBACK_HOSTS and settings.token is None:
        message = f"`listen` on {settings.listen[0]} needs a `token`: other machines can read what is exported"
        file.add_problem(("metrics", "listen"), message)


def _read_textfile(table: MetricsTable, file: ConfigFile, home: Path) -> Path | None:
    if table.textfile is None:
        return None
    path = expand_home(table.textfile, home)
    if path.suffix != ".prom" or not path.is_absolute():
        message = "`textfile`: write an absolute path that ends in .prom, as node_exporter reads no other"
        file.add_problem(("metrics", "textfile"), message)
    return path


def _read_push(table: PushTable, file: ConfigFile, secrets: ConfigSecrets) -> PushSettings:
    key_path = ("metrics", "push")
    every = MIN_PUSH_EVERY
    try:
        every = parse_duration(table.every)
    except ValueError as error:
        file.add_problem((*key_path, "every"), f"`every`: {error}")
    if not MIN_PUSH_EVERY <= every <= MAX_PUSH_EVERY:
        message = "`every` is from 15s to 2m: Prometheus forgets a sample after 5 min"
        file.add_problem((*key_path, "every"), message)
    parts = urlsplit(table.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        file.add_problem((*key_path, "url"), "`url`: write the address of the remote write receiver, with https://")
    elif parts.scheme == "http" and not (is_loopback_url(table.url) or table.insecure):
        message = "`url` is not encrypted: use https, or set insecure = true"
        file.add_problem((*key_path, "url"), message)
    secrets.collect_url_password((*key_path, "url"), table.url)
    headers = {
        name: secrets.resolve_secret((*key_path, "headers", name), value) or "" for name, value in table.headers.items()
    }
    return PushSettings(url=table.url, every=every, headers=headers, instance=table.instance)


def _load_salt(state_dir: Path) -> str:
    """The salt of this machine, made at first use."""
    path = state_dir / SALT_FILE_NAME
    salt = path.read_text("ascii").strip() if path.exists() else ""
    if not salt:
        from secrets import token_hex  # noqa: PLC0415 - once on a machine

        make_private_folder(state_dir)
        salt = token_hex(32)
        make_private_folder(state_dir)
        path.touch(0o600)
        path.write_text(salt, "ascii")
    return salt
