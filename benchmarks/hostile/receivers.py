"""Three receivers, each with its service's own manners: a webhook, Slack, Discord. Never look at the outcome here."""

import json
import random
from collections import Counter
from datetime import datetime, timedelta

from msgspec import Struct

from benchmarks.hostile.faults import LIMIT_S
from watcher.demo.server import ReceivedRequest, Reply, json_reply

CHANNELS = ("hook", "slack", "discord")
PASSWORDS = {name: f"planted-{name}-5c1f9e" for name in CHANNELS}
_BASES = {"hook": "/hook/", "slack": "/services/", "discord": "/api/"}
_PAGE = b"<!DOCTYPE html><html><body>Sign in to the guest network</body></html>"
_FOR_GOOD = {
    "hook": (Reply(status=410), Reply(status=404)),
    "slack": (
        Reply(status=404, body=b"no_service"),
        Reply(status=403, body=b"invalid_token"),
        Reply(status=410, body=b"channel_is_archived"),
    ),
    "discord": (
        json_reply({"message": "Unknown Webhook", "code": 10015}, 404),
        json_reply({"message": "Invalid Webhook Token", "code": 50027}, 401),
    ),
}
_LIMITS = {"slack": ((1, 1.0),), "discord": ((5, 2.0), (30, 60.0)), "hook": ()}  # so many in so many seconds


class Heard(Struct, frozen=True):
    """A message that came in whole."""

    channel: str
    key: str
    about: tuple[tuple[str, str, str], ...]  # (rule|series, event, severity) of each alert it speaks of
    life: str  # the process that sent it, which may be dead by now
    era: int  # which database
    answered: bool


def address(channel: str, number: int) -> str:
    """The path of a channel's address; a new number is a new address."""
    if channel == "discord":
        return f"/api/webhooks/{100 + number}/{PASSWORDS[channel]}"
    return f"{_BASES[channel]}{PASSWORDS[channel]}/{number}"


def channel_of(path: str) -> str | None:
    """Whose address a path is; None: a provider's."""
    return next((name for name in CHANNELS if PASSWORDS[name] in path), None)


class Receiver:
    """One far side."""

    def __init__(self, channel: str, luck: random.Random, faults: Counter[str]) -> None:
        self.channel, self._luck, self._faults = channel, luck, faults
        self.down = 0  # requests that it will not even take
        self.closed: Reply | None = None  # its refusal for good, until it has another address
        self.number = 0  # of that address
        self.rushed = 0  # messages of one life that came faster than the service takes them
        self._taken: list[tuple[str, datetime]] = []

    def close(self) -> None:
        """Refuse for good from now on."""
        self.closed = self._luck.choice(_FOR_GOOD[self.channel])

    def move(self) -> None:
        """Another address, which is open."""
        self.closed, self.number = None, self.number + 1

    def take(self, asked: ReceivedRequest, at: datetime, era: int, *, calm: bool) -> tuple[Reply, Heard | None]:
        """The answer, and what was taken in, if anything."""
        life = asked.headers.get("x-life", "")
        chance = 1.0 if calm else self._luck.random()
        refusal = self._refusal(asked.path.replace("/v10/", "/"), life, at, chance)
        if refusal is not None:
            return refusal, None
        self._taken = [*self._taken, (life, at)][-30:]
        reply = self._mute(chance)
        about = tuple((alert, event, severity) for alert, event, severity in json.loads(asked.headers["x-about"]))
        key = asked.headers.get("x-key", "")
        return reply or self._thanks(), Heard(self.channel, key, about, life, era, reply is None)

    def _refusal(self, path: str, life: str, at: datetime, chance: float) -> Reply | None:
        """What it says to a message that it does not take; None: it takes it."""
        if self.closed is not None or path != address(self.channel, self.number):
            return self.closed or Reply(status=404)
        if self.down > 0:
            self.down -= 1
            return self._bad("dead", Reply(reset_connection=True))
        rushed = self._is_rushed(life, at)
        if rushed or 0.05 <= chance < 0.10:
            return self._bad("asks to wait", self._wait(1 if rushed else self._luck.randint(1, 600)))
        if chance < 0.05:
            return self._bad("refuses", Reply(status=self._luck.choice((500, 502, 503))))
        if chance < 0.12 and self.channel == "slack":
            return self._bad("another page", Reply(headers={"content-type": "text/html"}, body=_PAGE))
        return None

    def _bad(self, name: str, reply: Reply) -> Reply:
        self._faults[f"receiver: {name}"] += 1
        return reply

    def _mute(self, chance: float) -> Reply | None:
        """What comes in place of an answer to a message that was taken; None: an answer."""
        if 0.12 <= chance < 0.20:
            self._faults["receiver: takes it, never answers"] += 1
            return (
                Reply(reset_connection=True) if self._luck.random() < 0.5 else Reply(body=b"{}" * 9, truncate_body=True)
            )
        if 0.20 <= chance < 0.22:
            self._faults["receiver: takes it, answers too late"] += 1
            return Reply(status=204, delay_s=3 * LIMIT_S)
        return None

    def _thanks(self) -> Reply:
        if self.channel == "slack":
            return Reply(body=b"ok")
        if self.channel == "discord":
            remaining = self._luck.choice(("0", "3"))
            return json_reply({"id": "1"}, 200, x_ratelimit_remaining=remaining, x_ratelimit_reset_after="1.5")
        return Reply(status=204)

    def _wait(self, seconds: int) -> Reply:
        if self.channel == "discord":
            return json_reply({"message": "You are being rate limited.", "retry_after": seconds + 0.65}, 429)
        return Reply(status=429, headers={"retry-after": str(seconds)})

    def _is_rushed(self, life: str, at: datetime) -> bool:
        """Whether the service's own limit is passed, by this process alone: another one cannot know."""
        if self._taken and at < self._taken[-1][1]:  # the clock was set back
            self._taken = []
        own = [then for whose, then in self._taken if whose == life]
        for most, span_s in _LIMITS[self.channel]:
            if sum(at - then < timedelta(seconds=span_s) for then in own) >= most:
                self.rushed += 1
                return True
        return False
