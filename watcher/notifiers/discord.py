"""Discord, by a channel's webhook: `{url}`.

https://discord.com/developers/docs/resources/webhook#execute-webhook - one embed; Markdown is escaped and no mention is
resolved. Lost: all beyond 256 characters of title and 4,000 of body. Permanent: every 4xx but 408, 409, 425 and 429;
ten thousand bad requests in ten minutes ban the address.
"""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import structs

from watcher.core.model import DeliveryOutcome, Message, Request, Response
from watcher.notifiers import base

_ERROR_HINTS = {
    10003: "the channel is gone; make a webhook in another one",
    10015: "the webhook has been deleted; make a new one",
    50006: "it counted as empty; please report this",
    50027: "the address is wrong; copy it again",
    50035: "it was not understood; please report this",
    220001: "its channel is a forum: add ?thread_id=NUMBER of a thread to the address",
}
_WEBHOOK_PATH = re.compile(r"(?:/api(?:/v\d+)?)?/webhooks/(\d+)/([\w-]+)/?", re.ASCII)
_DISCORD_HOSTS = {"discordapp.com", "discord.com", "canary.discord.com", "ptb.discord.com", "canary.discordapp.com"}


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "discord"`."""

    url: str

    def __post_init__(self) -> None:
        base.check_url(self.url, is_secret=True)
        if not _WEBHOOK_PATH.fullmatch(urlsplit(self.url).path):
            raise ValueError("`url` must be a channel's webhook: https://discord.com/api/webhooks/NUMBER/TOKEN")


def build_request(message: Message, settings: Settings) -> Request:
    """One embed in the severity's colour. Title, body and fields together stay below the 6,000 in all."""
    embed: dict[str, Any] = {
        "title": _clip_escaped(message.title, 256),
        "description": _clip_escaped(message.body, 4000),
        "color": base.get_colour(message),
        "fields": _build_fields(message),
        "timestamp": message.at.isoformat(),
    }
    if page := base.get_safe_link(message):
        embed["url"] = page
    return Request(
        method="POST", url=build_url(settings.url), json={"embeds": [embed], "allowed_mentions": {"parse": []}}
    )


def escape_markdown(text: str) -> str:
    """The text with a backslash before marks of Discord's Markdown and before colons of addresses and emoji."""
    marked = re.sub(r"([\\*_~`|<>@#:()\[\]{}!-])", r"\\\1", text)
    return re.sub(r"(?m)^(\s*\d+)\.", r"\1\\.", marked)


def build_url(url: str) -> str:
    """The webhook's address with the API's version and `wait=true`, which makes the response prove the arrival."""
    parts = urlsplit(url)
    found = _WEBHOOK_PATH.fullmatch(parts.path)
    path = f"/api/v10/webhooks/{found[1]}/{found[2]}" if found else parts.path
    host = "discord.com" if parts.netloc.lower() in _DISCORD_HOSTS else parts.netloc
    query = {**dict(parse_qsl(parts.query)), "wait": "true"}
    return urlunsplit((parts.scheme, host, path, urlencode(query), ""))


def _clip_escaped(text: str, limit: int) -> str:
    return base.clip(text, limit, escape=escape_markdown, measure=base.count_utf16_units)


def _build_fields(message: Message) -> list[dict[str, Any]]:
    """The known values; the reset in the reader's own time zone."""
    resets = "" if message.resets_at is None else "<t:{0}:f> (<t:{0}:R>)".format(int(message.resets_at.timestamp()))
    known = (
        ("Used", base.format_usage(message)),
        ("Remaining", _clip_escaped(base.format_remaining(message), 200)),
        ("Resets", resets),
    )
    return [{"name": name, "value": value, "inline": True} for name, value in known if value]


def interpret_result(response: Response, _settings: Settings) -> DeliveryOutcome:
    """The default, with the pause after the last message that the rate limit allows, and the reason of a refusal."""
    outcome = base.interpret_response(response)
    if outcome.delivered and response.headers.get("x-ratelimit-remaining") == "0":
        return structs.replace(outcome, retry_after=base.parse_retry_after(response))
    code = base.get_json_field(response.body, "code")
    if outcome.permanent and isinstance(code, int) and code in _ERROR_HINTS:
        return structs.replace(outcome, detail=f"Discord refused it with code {code}: {_ERROR_HINTS[code]}")
    return outcome


NOTIFIER = base.Notifier(
    type="discord",
    settings_class=Settings,
    build_request=build_request,
    interpret_result=interpret_result,
    secret_settings=("url",),
)
