"""Discord, by a channel's webhook: `{url}`.

https://discord.com/developers/docs/resources/webhook#execute-webhook - one embed; every mark of its Markdown in text
from outside is escaped, and no mention is ever resolved. Lost: all beyond 256 characters of title and 4,000 of body.
Permanent: every 4xx but 408, 409, 425 and 429; ten thousand bad requests in ten minutes ban the whole address.
"""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import structs

from watcher.core.model import Finished, Message, Outcome, Request, Response
from watcher.notifiers import Notifier, answers
from watcher.notifiers.settings import Own, check_url
from watcher.notifiers.text import clip, colour, link, remaining, usage, utf16

_REASONS = {
    10003: "the channel is gone; make a webhook in another one",
    10015: "the webhook has been deleted; make a new one",
    50006: "it counted as empty; please report this",
    50027: "the address is wrong; copy it again",
    50035: "it was not understood; please report this",
}
_WEBHOOK = re.compile(r"(?:/api(?:/v\d+)?)?/webhooks/(\d+)/([\w-]+)/?", re.ASCII)
_HOSTS = {"discordapp.com", "discord.com", "canary.discord.com", "ptb.discord.com", "canary.discordapp.com"}


class Settings(Own, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "discord"`."""

    url: str

    def __post_init__(self) -> None:
        check_url(self.url, secret=True)
        if not _WEBHOOK.fullmatch(urlsplit(self.url).path):
            raise ValueError("`url` must be a channel's webhook: https://discord.com/api/webhooks/NUMBER/TOKEN")


def compose(message: Message, settings: Settings) -> Request:
    """One embed in the severity's colour. Title, body, fields and footer together stay below the 6,000 in all."""
    embed: dict[str, Any] = {
        "title": _clip(message.title, 256),
        "description": _clip(message.body, 4000),
        "color": colour(message),
        "fields": _fields(message),
        "footer": {"text": clip(f"alert {message.id}", 300, measure=utf16)},  # a footer is not Markdown
        "timestamp": message.at.isoformat(),
    }
    if page := link(message):
        embed["url"] = page
    return Request(
        method="POST", url=address(settings.url), json={"embeds": [embed], "allowed_mentions": {"parse": []}}
    )


def escape(text: str) -> str:
    """A backslash before whatever Discord's Markdown could read, the colon of an address and of an emoji too."""
    marked = re.sub(r"([\\*_~`|<>@#:()\[\]{}!-])", r"\\\1", text)
    return re.sub(r"(?m)^(\s*\d+)\.", r"\1\\.", marked)


def address(url: str) -> str:
    """The webhook's address with the API's version, and asking for an answer that proves the arrival."""
    parts = urlsplit(url)
    found = _WEBHOOK.fullmatch(parts.path)
    path = f"/api/v10/webhooks/{found[1]}/{found[2]}" if found else parts.path
    host = "discord.com" if parts.netloc.lower() in _HOSTS else parts.netloc
    query = {**dict(parse_qsl(parts.query)), "wait": "true"}
    return urlunsplit((parts.scheme, host, path, urlencode(query), ""))


def _clip(text: str, limit: int) -> str:
    return clip(text, limit, escape=escape, measure=utf16)


def _fields(message: Message) -> list[dict[str, Any]]:
    """The numbers that are known; the reset in the reader's own time."""
    resets = "" if message.resets_at is None else "<t:{0}:f> (<t:{0}:R>)".format(int(message.resets_at.timestamp()))
    known = (("Used", usage(message)), ("Remaining", _clip(remaining(message), 200)), ("Resets", resets))
    return [{"name": name, "value": value, "inline": True} for name, value in known if value]


def judge(answer: Response | Finished) -> Outcome:
    """Arrived: the default, with the pause asked for when this was the last message the limit allows."""
    outcome = answers.judge(answer)
    if not isinstance(answer, Response):
        return outcome
    if outcome.delivered and answer.headers.get("x-ratelimit-remaining") == "0":
        return structs.replace(outcome, retry_after=answers.retry_after(answer))
    code = answers.field(answer.body, "code")
    if outcome.permanent and isinstance(code, int) and code in _REASONS:
        return structs.replace(outcome, detail=f"Discord refused it with code {code}: {_REASONS[code]}")
    return outcome


NOTIFIER = Notifier(type="discord", settings=Settings, compose=compose, judge=judge, secrets=("url",))
