"""Any program on this machine: `{argv, timeout?}`.

An argument list, never a shell. The webhook's payload is on stdin, and its values are variables: `WATCHER_ID`,
`WATCHER_EVENT`, ...; of the environment only what `watcher.system.process` passes on. Lost: nothing. Permanent: every
exit code but 0 and 75 (EX_TEMPFAIL: run it again later), and a program that cannot be started.
"""

import msgspec

from watcher.core.model import Command, Message
from watcher.core.rules.vocabulary import parse_duration_s
from watcher.notifiers import base
from watcher.notifiers.webhook import encode_payload

MAX_TIMEOUT_S = 300


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "command"`."""

    argv: tuple[str, ...]
    timeout: str = "10s"  # then TERM, and two seconds later KILL, for it and its children

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise ValueError('`argv` must name a program: argv = ["/path/to/program", "argument"]')
        if any("\0" in argument for argument in self.argv):
            raise ValueError("`argv` must not hold a NUL character")
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise ValueError('`timeout` must be between "1s" and "5m"')

    @property
    def timeout_s(self) -> float:
        """The timeout in seconds; 0 where it is no duration."""
        return parse_duration_s(self.timeout) or 0.0


def build_request(message: Message, settings: Settings) -> Command:
    """One run of the program; unknown values are empty variables."""
    body = encode_payload(message)
    values = msgspec.json.decode(body)
    return Command(
        argv=settings.argv,
        stdin=body.decode(),
        env={f"WATCHER_{name.upper()}": _format_variable(value) for name, value in values.items()},
        timeout_s=settings.timeout_s,
    )


def _format_variable(value: object) -> str:
    """`value` as the text of a variable, never longer than systems allow."""
    return base.clip("" if value is None else str(value), 16_000, measure=base.count_utf8_bytes)


NOTIFIER = base.Notifier(type="command", settings_class=Settings, build_request=build_request)
