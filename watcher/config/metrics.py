"""`[metrics]`: what is exported for Prometheus, and how. Off unless the table is there."""

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field, structs

from watcher.core.model import is_loopback
from watcher.core.rules.vocabulary import parse_duration
from watcher.notifiers.alertmanager import check_duration, check_labels
from watcher.notifiers.base import check_url
from watcher.system.files import make_private_folder
from watcher.system.paths import expand_home

if TYPE_CHECKING:
    from watcher.config.file import ConfigFile
    from watcher.config.secrets import ConfigSecrets

RESERVED_LABELS = frozenset(
    {"provider", "account", "window", "kind", "rule", "severity", "unit", "outcome", "channel", "version"}
    | {"job", "instance", "le", "quantile"}
)
MIN_TOKEN_LENGTH = 16
MIN_PUSH_EVERY, MAX_PUSH_EVERY = timedelta(seconds=15), timedelta(minutes=2)
SALT_FILE_NAME = "metrics.salt"

_ADDRESS_PATTERN = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:\[\]]+):(?P<port>\d{1,5})")


class PushTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Push the metrics by Prometheus' remote write."""

    url: str
    type: Literal["remote_write"] = "remote_write"
    every: str = "1m"
    headers: dict[str, str] = field(default_factory=dict)
    instance: Literal["hash", "name", "none"] = "hash"
    insecure: bool = False

    def __post_init__(self) -> None:
        check_url(self.url)
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not self.insecure:
            raise ValueError("`url` is not encrypted: use https, or set insecure = true")
        valid = "15s to 2m: Prometheus forgets a sample after 5 min"
        check_duration("every", self.every, MIN_PUSH_EVERY, MAX_PUSH_EVERY, valid)

    @property
    def interval(self) -> timedelta:
        """The time between two pushes."""
        return parse_duration(self.every)


class MetricsTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metrics for Prometheus."""

    listen: str | None = None
    token: str | None = None
    textfile: str | None = None
    detail: Literal["full", "lean"] = "full"
    account: Literal["hash", "alias", "name", "none"] = "hash"
    aliases: dict[str, str] = field(default_factory=dict)  # account name or key -> label
    salt: str | None = None  # the same on all machines that share accounts
    labels: dict[str, str] = field(default_factory=dict)  # added to every sample
    push: PushTable | None = None

    def __post_init__(self) -> None:
        found = _ADDRESS_PATTERN.fullmatch(self.listen) if self.listen is not None else None
        if self.listen is not None and (found is None or not int(found["port"]) < 1 << 16):
            raise ValueError('`listen`: write host and port, such as "127.0.0.1:9188"')
        if self.listen is not None and not is_loopback(self.address[0]) and self.token is None:
            raise ValueError("`listen` on another host than 127.0.0.1 needs a `token`: other machines can read it")
        if self.textfile is not None:
            path = Path(self.textfile)
            if path.suffix != ".prom" or not (path.is_absolute() or path.parts[:1] == ("~",)):
                raise ValueError(
                    "`textfile`: write an absolute path that ends in .prom, as node_exporter reads no other"
                )
        check_labels(self.labels, RESERVED_LABELS)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        host, _, port = (self.listen or "").rpartition(":")
        return host.strip("[]"), int(port or 0)

    @property
    def is_exported(self) -> bool:
        """Whether a running watcher has anything to do: the labels alone may be for a channel `alertmanager`."""
        return any(each is not None for each in (self.listen, self.textfile, self.push))

    def with_salt(self, state_dir: Path) -> "MetricsTable":
        """The settings with the salt of this machine, where the config has none."""
        return self if self.salt else structs.replace(self, salt=_load_salt(state_dir))


def resolve_metrics(
    settings: MetricsTable | None, file: "ConfigFile", secrets: "ConfigSecrets", home: Path
) -> MetricsTable | None:
    """The settings with their secrets and paths; None where a secret is not available (`secrets.errors` says why)."""
    if settings is None:
        return None
    salt = secrets.resolve_secret(("metrics", "salt"), settings.salt)
    token = secrets.resolve_secret(("metrics", "token"), settings.token)
    push = settings.push
    if push is not None:
        key_path = ("metrics", "push")
        secrets.collect_url_password((*key_path, "url"), push.url)
        headers = {
            name: secrets.resolve_secret((*key_path, "headers", name), value) or ""
            for name, value in push.headers.items()
        }
        push = structs.replace(push, headers=headers)
    missing = [error for key, error in secrets.errors.items() if key.startswith("metrics.")]
    if missing:
        secrets.errors["metrics"] = missing[0]
        return None  # nothing leaves the machine until it is available
    if token is not None and len(token) < MIN_TOKEN_LENGTH:  # a short one can be guessed
        file.add_problem(("metrics", "token"), f"`token` has fewer than {MIN_TOKEN_LENGTH} characters")
    textfile = None if settings.textfile is None else str(expand_home(settings.textfile, home))
    return structs.replace(settings, salt=salt, token=token, textfile=textfile, push=push)


def _load_salt(state_dir: Path) -> str:
    """The salt of this machine, made at first use; another one each time where the folder cannot be used."""
    path, salt = state_dir / SALT_FILE_NAME, os.urandom(32).hex()
    with suppress(OSError):  # the folder is reported by others
        saved = path.read_text("ascii").strip() if path.exists() else ""
        if saved:
            return saved
        make_private_folder(state_dir)
        path.touch(0o600)
        path.write_text(salt, "ascii")
    return salt
