"""ntfy, its public server or one's own: `{topic, server?, token?, priority?}`.

https://docs.ntfy.sh/publish/#publish-as-json - plain text; no tag becomes an emoji. On a public server anyone
who knows the topic can read it: choose one that cannot be guessed. Lost: all beyond 250 characters of title
and 3,900 bytes of body. Permanent: every 4xx but 408, 409, 425 and 429.
"""

import re
from typing import Annotated

from msgspec import Meta

from watcher.core.model import Message, Request, Severity
from watcher.notifiers import base

_PRIORITIES = {Severity.INFO: 3, Severity.WARNING: 4, Severity.CRITICAL: 5}


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "ntfy"`."""

    topic: str
    server: str = "https://ntfy.sh"
    token: str = ""  # an access token, where the server asks for one
    priority: Annotated[int, Meta(ge=1, le=5)] | None = None  # left out: 3, 4 or 5 by severity

    def __post_init__(self) -> None:
        base.check_url(self.server, "server")
        base.check_header(self.token, "token")
        if not re.fullmatch(r"[-_A-Za-z0-9]{1,64}", self.topic):
            raise ValueError("`topic` must be 1 to 64 letters, digits, `-` or `_`")


def build_request(message: Message, settings: Settings) -> Request:
    """One JSON publication, posted to the server's root."""
    good = message.event in {"resolved", "reset"}
    numbers = [value for value in (base.format_usage(message), base.format_remaining(message)) if value]
    text = "\n".join([message.body or message.title, *numbers])
    body = {
        "topic": settings.topic,
        "title": base.clip(message.title, 250, measure=base.count_utf8_bytes),
        "message": base.clip(text, 3900, measure=base.count_utf8_bytes),
        "priority": settings.priority or (3 if good else _PRIORITIES[message.severity]),
        "tags": [f"{message.event}-event", f"{message.severity}-severity"],
    }
    if page := base.get_safe_link(message):
        body["click"] = page
    headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    return Request(method="POST", url=settings.server.rstrip("/") + "/", headers=headers, json=body)


NOTIFIER = base.Notifier(
    type="ntfy", settings_class=Settings, build_request=build_request, secret_settings=("topic", "token")
)
