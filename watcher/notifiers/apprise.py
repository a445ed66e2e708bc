"""Over a hundred further services through the Apprise library (extra `apprise`): `{url}`.

https://github.com/caronc/apprise/wiki - the library costs 54 MiB, opens its own sockets and may hang: it runs in a
child process (`run_child`), is imported only there, and gets its address on stdin, which no process list shows. Lost:
fields, colours and whatever the service cannot show. Permanent: a library that is not installed, an address that it
does not know. A failure of the service is retried, because Apprise does not say what it was.
"""

import re
import sys

import msgspec

from watcher.core.model import Command, CommandResult, DeliveryOutcome, Message, Severity
from watcher.notifiers import base

EXIT_NOT_INSTALLED = 69
EXIT_BAD_ADDRESS = 78

_NOTIFY_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}
_PERMANENT_HINTS = {
    EXIT_NOT_INSTALLED: "Apprise is not installed; run: pip install 'ai-usage-watcher[apprise]'",
    EXIT_BAD_ADDRESS: "Apprise does not know this address; check the channel's url",
}


_CHILD = "import sys; from watcher.notifiers.apprise import run_child; sys.exit(run_child())"


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "apprise"`."""

    url: str

    def __post_init__(self) -> None:
        if "://" not in self.url:
            raise ValueError("`url` must be an address that Apprise knows, such as mailto://... or tgram://...")


def build_request(message: Message, settings: Settings) -> Command:
    """One run of the child process, with everything on stdin."""
    lines = [message.body or message.title, base.get_safe_link(message)]
    kind = "success" if message.event in {"resolved", "reset"} else _NOTIFY_TYPES[message.severity]
    body = base.clip("\n".join(line for line in lines if line), 4000, escape=escape_mentions)
    job = {
        "url": settings.url,
        "title": base.clip(message.title, 250, escape=escape_mentions),
        "body": body,
        "type": kind,
    }
    argv = (sys.executable, "-P", "-c", _CHILD)
    return Command(argv=argv, stdin=msgspec.json.encode(job).decode(), timeout_s=60.0)


def escape_mentions(text: str) -> str:
    """The text with an invisible mark in whatever some service could take for a mention."""
    return re.sub(r"@|<(?=[!#])", "\\g<0>\u200b", text)


def interpret_result(finished: CommandResult, _settings: Settings) -> DeliveryOutcome:
    """The child's exit codes; a refusal by the service may pass."""
    outcome = base.interpret_exit(finished)
    if not outcome.permanent:
        return outcome
    if finished.exit_code in _PERMANENT_HINTS:
        return DeliveryOutcome(delivered=False, detail=_PERMANENT_HINTS[finished.exit_code], permanent=True)
    return DeliveryOutcome(delivered=False, detail="the service did not take it; will be sent again")


def run_child() -> int:
    """The child process: read a job from stdin and send it. 0 sent, 1 refused, 69 not installed, 78 unknown address.

    It never prints: the library's messages may hold the address.
    """
    import logging  # noqa: PLC0415 - only for this process

    logging.disable(logging.CRITICAL)
    job = msgspec.json.decode(sys.stdin.buffer.read())
    try:
        import apprise  # noqa: PLC0415 - heavy, and only for this process
    except ImportError:
        return EXIT_NOT_INSTALLED
    service = apprise.Apprise()
    if not service.add(job["url"]):
        return EXIT_BAD_ADDRESS
    sent = service.notify(
        title=job["title"], body=job["body"], notify_type=job["type"], body_format="text", interpret_escapes=False
    )
    return 0 if sent else 1


NOTIFIER = base.Notifier(
    type="apprise",
    settings_class=Settings,
    build_request=build_request,
    interpret_result=interpret_result,
    secret_settings=("url",),
)
