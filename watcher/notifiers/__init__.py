"""The channels: how a message is sent to each service, and what its response means.

`base` has the record of a channel type, checks of settings, the table of responses, and what formats and clips texts.
Then one file for each channel: a function from a `Message` and the channel's settings to a `Request` or a
`Command`. `desktop` is a package, as each system has its own ways. A new channel is added to `_MODULES` below.
"""

from msgspec import structs

from watcher.core.model import DeliveryOutcome, Message, Request
from watcher.errors import ProviderError, ServerError
from watcher.notifiers import alertmanager, apprise, base, command, desktop, discord, email, ntfy, slack, webhook
from watcher.notifiers.base import Channel, Notifier, OnAction, Run, Send

__all__ = ["NOTIFIERS", "Channel", "Notifier", "OnAction", "Run", "Send", "send_message"]

_MODULES = (desktop, slack, discord, webhook, ntfy, email, command, apprise, alertmanager)

NOTIFIERS: dict[str, Notifier] = {module.NOTIFIER.type: module.NOTIFIER for module in _MODULES}
"""type -> notifier, in the order in which help shows them."""


def is_read_elsewhere(channel: Channel) -> bool:
    """Whether people read it on other machines, perhaps beside messages of others: a chat, a phone, a mailbox."""
    # without settings while a secret is not available
    is_for_programs = channel.type == "webhook" and not getattr(channel.settings, "json", None)
    return channel.type not in {"desktop", "command"} and not is_for_programs


def send_message(
    message: Message, channel: Channel, *, send: Send, run: Run, on_action: OnAction | None = None
) -> DeliveryOutcome:
    """Try once to deliver `message` to `channel`. Never raises: whatever goes wrong is in the outcome.

    Where a channel can show buttons, it does so for `on_action`.
    """
    try:
        return _deliver(message, channel, send, run, on_action)
    except Exception as error:  # noqa: BLE001 - one broken channel must not stop the others
        detail = base.explain_error(error)
        # of a ServerError a response began: the receiver had the message
        if isinstance(error, ProviderError) and (error.request_sent or isinstance(error, ServerError)):
            return DeliveryOutcome(delivered=None, detail=f"it may have arrived: {detail}")
        return DeliveryOutcome(delivered=False, detail=detail)


def _deliver(message: Message, channel: Channel, send: Send, run: Run, on_action: OnAction | None) -> DeliveryOutcome:
    notifier = NOTIFIERS[channel.type]
    if notifier.deliver is not None:
        return notifier.deliver(message, channel.settings, send, run, on_action)
    if notifier.build_request is None:
        raise TypeError(notifier.type)
    work = notifier.build_request(message, channel.settings)
    if isinstance(work, Request):
        # an answer that breaks off is good for nothing where its body decides
        body_decides = bool(getattr(channel.settings, "success", ""))
        response = send(structs.replace(work, status_decides=not body_decides))
        return notifier.interpret_result(response, channel.settings)
    return notifier.interpret_result(run(work), channel.settings)
