"""The secrets of one reading of the config: resolved, gathered for the redactor, guarded where the file holds them.

Never put here which setting is a secret: the provider's table and the notifier say so.
"""

from pathlib import Path

from watcher import secrets
from watcher.config_file import ConfigFile, Where
from watcher.secrets import Resolve


class ConfigSecrets:
    """What was secret in one reading.

    Attributes:
        found: every secret in use.
        files: every file that one was read from.
        broken: dotted key, or a channel's name -> why the secret could not be had.
    """

    def __init__(self, file: ConfigFile, resolve: Resolve, home: Path) -> None:
        self._file, self._resolve, self._home = file, resolve, home
        self.found: list[str] = []
        self.files: list[Path] = []
        self.broken: dict[str, str] = {}

    def secret(self, where: tuple[str, ...], text: str | None) -> str | None:
        """The secret that stands or is named there; None where there is none, or where it cannot be had."""
        if text is None:
            return None
        try:
            secret = self._resolve(text)
        except secrets.Unavailable as error:
            self.broken[".".join(where)] = str(error)
            return None
        self.found += (secret, *secrets.in_address(secret))
        file = secrets.file_of(text, self._home)
        self.files += [file] if file is not None else []
        if secrets.is_literal(text) and not secrets.is_harmless(text):
            self._demand_private(where)
        return secret

    def guard_address(self, where: Where, text: str) -> None:
        """A password within an address is a secret like any other."""
        found = secrets.in_address(text)
        self.found += found
        if found and not secrets.is_harmless(text):
            self._demand_private(where)

    def _demand_private(self, where: Where) -> None:
        path = Path(self._file.path)
        if secrets.readable_by_others(path):
            self._file.problem(
                where,
                f"`{where[-1]}` holds a secret in a file that others can read: chmod 600 {path},"
                " or use env:NAME, file:PATH or cmd:ARGV",
            )
