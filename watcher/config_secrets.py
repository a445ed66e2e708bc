"""The secrets of one reading of the config: resolved, gathered for the redactor, guarded where the file holds them.

Never put here which setting is a secret: the provider's table and the notifier say so.
"""

from pathlib import Path

from watcher import secrets
from watcher.config_file import ConfigFile, KeyPath
from watcher.secrets import SecretResolver


class ConfigSecrets:
    """What was secret in one reading.

    Attributes:
        found: every secret in use.
        files: every file that one was read from.
        broken: dotted key, or a channel's name -> why the secret could not be had.
    """

    def __init__(self, file: ConfigFile, resolve: SecretResolver, home: Path) -> None:
        self._file, self._resolve, self._home = file, resolve, home
        self.values: list[str] = []
        self.files: list[Path] = []
        self.errors: dict[str, str] = {}

    def resolve_secret(self, key_path: tuple[str, ...], text: str | None) -> str | None:
        """The secret that stands or is named there; None where there is none, or where it cannot be had."""
        if text is None:
            return None
        try:
            secret = self._resolve(text)
        except secrets.SecretUnavailableError as error:
            self.errors[".".join(key_path)] = str(error)
            return None
        self.values += (secret, *secrets.extract_url_passwords(secret))
        file = secrets.find_secret_file(text, self._home)
        self.files += [file] if file is not None else []
        if secrets.is_literal_secret(text) and not secrets.is_loopback_url(text):
            self._require_private_file(key_path)
        return secret

    def collect_url_password(self, key_path: KeyPath, text: str) -> None:
        """A password within an address is a secret like any other."""
        found = secrets.extract_url_passwords(text)
        self.values += found
        if found and not secrets.is_loopback_url(text):
            self._require_private_file(key_path)

    def _require_private_file(self, key_path: KeyPath) -> None:
        path = Path(self._file.path)
        if secrets.is_readable_by_others(path):
            self._file.add_problem(
                key_path,
                f"`{key_path[-1]}` holds a secret in a file that others can read: chmod 600 {path},"
                " or use env:NAME, file:PATH or cmd:ARGV",
            )
