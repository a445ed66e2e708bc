"""Slack, by an incoming webhook: `{url}`.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks - title and body go as `plain_text`, which
Slack neither formats nor searches for mentions. Lost: all beyond 150 characters of title and 2,900 of body. Permanent:
every 4xx but 408, 409, 425 and 429; the response's body names the reason (`invalid_token`, `channel_is_archived`, ...);
and a web page in place of an answer.
"""

from typing import Any

from msgspec import structs

from watcher.core.formatting import escape_markup
from watcher.core.model import DeliveryOutcome, Message, Request, Response
from watcher.notifiers import base

_ERROR_HINTS = {
    "action_prohibited": "an administrator forbids it; ask for the app to be allowed",
    "channel_is_archived": "the channel is archived; make a webhook for another one",
    "channel_not_found": "the channel is gone; make a webhook for another one",
    "invalid_payload": "please report this",
    "invalid_token": "the address is wrong or withdrawn; make a new webhook",
    "no_service": "the webhook is switched off or removed; make a new one",
    "no_service_id": "the address is incomplete; copy it again",
    "no_team": "the workspace is gone; check the address",
    "team_disabled": "the workspace is switched off",
    "user_not_found": "the person it was for is gone; make a new webhook",
}


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True):
    """`[channels.NAME]` with `type = "slack"`."""

    url: str

    def __post_init__(self) -> None:
        base.check_url(self.url, is_secret=True)


def build_request(message: Message, settings: Settings) -> Request:
    """A header, and beside a bar in the severity's colour the body, the known values and the usage page."""
    title = {"type": "header", "text": _make_plain_text(message.title, 150)}
    detail: list[dict[str, Any]] = [{"type": "section", "text": _make_plain_text(message.body or message.title, 2900)}]
    if fields := _build_fields(message):
        detail.append({"type": "section", "fields": fields})
    if page := base.get_safe_link(message):
        link = {"type": "mrkdwn", "text": f"<{escape_markup(page)}|Usage page>"}
        detail.append({"type": "context", "elements": [link]})
    body = {
        "text": base.clip(
            f"{message.title}: {message.body}", 2900, escape=escape_markup
        ),  # for what shows no blocks: lock screens
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [title],
        "attachments": [{"color": f"#{base.get_colour(message):06x}", "blocks": detail}],
    }
    return Request(method="POST", url=settings.url, json=body)


def _make_plain_text(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": base.clip(text, limit), "emoji": False}


def _build_fields(message: Message) -> list[dict[str, Any]]:
    """The known values; the reset in the reader's own time zone."""
    known = (("Used", base.format_usage(message)), ("Remaining", base.format_remaining(message)))
    fields = [_make_plain_text(f"{name}\n{value}", 2000) for name, value in known if value]
    if message.resets_at is not None:
        plain = f"{message.resets_at:%Y-%m-%d %H:%M} UTC"
        date = f"<!date^{int(message.resets_at.timestamp())}^{{date_short_pretty}}, {{time}}|{plain}>"
        fields.append({"type": "mrkdwn", "text": f"Resets\n{date}"})
    return fields


def interpret_result(response: Response, _settings: Settings) -> DeliveryOutcome:
    """The default, as servers that take Slack's format answer with other bodies; a refusal names its reason."""
    outcome = base.interpret_response(response)
    answer = response.body.decode("utf-8", "replace").strip()
    if outcome.delivered and answer[:9].lower().startswith(("<!doctype", "<html")):
        detail = "a web page answered in place of Slack; check the address and the network"
        return DeliveryOutcome(delivered=False, detail=detail)  # a network's login page goes away by itself
    if outcome.permanent and answer in _ERROR_HINTS:
        return structs.replace(outcome, detail=f"Slack answered {answer}; {_ERROR_HINTS[answer]}")
    return outcome


NOTIFIER = base.Notifier(
    type="slack",
    settings_class=Settings,
    build_request=build_request,
    interpret_result=interpret_result,
    secret_settings=("url",),
)
