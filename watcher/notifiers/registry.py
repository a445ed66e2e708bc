"""Every kind of channel, by its word in TOML. One line a channel; nothing else is to be edited for a new one."""

from watcher.notifiers import Notifier, apprise, command, desktop, discord, ntfy, slack, webhook

_MODULES = (desktop, slack, discord, webhook, ntfy, command, apprise)

NOTIFIERS: dict[str, Notifier] = {module.NOTIFIER.type: module.NOTIFIER for module in _MODULES}
"""type -> notifier, in the order in which help shows them."""
