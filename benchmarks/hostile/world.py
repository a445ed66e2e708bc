"""Providers and receivers, and the truth about both. Never kill or judge here."""

import json
import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

from msgspec import Struct, structs

from benchmarks.hostile.faults import FAULTS
from benchmarks.hostile.receivers import CHANNELS, PASSWORDS, Heard, Receiver, channel_of
from watcher.demo.responses import ENDPOINTS
from watcher.demo.scenario import CountUsage, SimulatedDay, SimulatedUsage, WindowUsage
from watcher.demo.server import ReceivedRequest, Reply, json_reply

START = datetime(2026, 3, 2, 7, tzinfo=UTC)
FAR = START + timedelta(days=300)
TOKENS = {name: f"planted-{name}-5c1f9e" for name in ("claude", "codex", "copilot", "nano", "google")}
SECRETS = (*TOKENS.values(), *PASSWORDS.values())
LOGINS = {
    "anthropic": {"type": "oauth", "access": TOKENS["claude"], "refresh": "never-used", "expires": 0},
    "openai": {"type": "oauth", "access": TOKENS["codex"], "refresh": "r", "expires": 0, "accountId": "a"},
    "github-copilot": {"type": "oauth", "access": TOKENS["copilot"], "refresh": TOKENS["copilot"], "expires": 0},
    "nano-gpt": {"type": "api", "key": TOKENS["nano"]},
}
GOOGLE = {"email": "demo@example.com", "refreshToken": TOKENS["google"], "projectId": "demo", "enabled": True}
PATHS = {
    "claude": "/api/oauth/usage",
    "codex": "/backend-api/wham/usage",
    "copilot": "/copilot_internal/user",
    "nano_gpt": "/api/subscription/v1/usage",
    "gemini_cli": "/v1internal:retrieveUserQuota",
}
SERIES = (
    "claude.five_hour",
    "claude.seven_day",
    "codex.five_hour",
    "codex.weekly",
    "copilot.premium_interactions",
    "nano_gpt.daily",
    "nano_gpt.monthly",
    "gemini_cli.gemini_2_5_pro",
)
LEAST_LOW, MOST_LOW, LEAST_HIGH, MOST_HIGH = 35, 60, 85, 94


class Answer(Struct, frozen=True):
    """What a provider said about all its windows."""

    life: str
    provider: str
    at: datetime
    used: dict[str, int]  # series -> percent


class World:
    """Everything that is not the daemon; nobody kills it."""

    def __init__(self, luck: random.Random) -> None:
        self.luck = luck
        self.lock = threading.Lock()
        self.polls = self.era = 0
        self.calm = False
        self.offline = 0  # requests that no provider will take
        self.at = START
        self.used = dict.fromkeys(SERIES, LEAST_LOW)
        self.served: list[Answer] = []
        self.heard: list[Heard] = []
        self.faults: Counter[str] = Counter()
        self.bodies: list[bytes] = []
        self.journal: list[str] = []
        self.receivers = {name: Receiver(name, luck, self.faults) for name in CHANNELS}

    def note(self, text: str) -> None:
        """One line of the journal, by the simulated clock."""
        self.journal.append(f"{self.at:%m-%d %H:%M:%S} poll {self.polls}: {text}")

    def turn_over(self) -> None:
        """What was high is low, and what was low is high."""
        with self.lock:
            self.used = {name: LEAST_LOW if used >= LEAST_HIGH else LEAST_HIGH for name, used in self.used.items()}

    def answer(self, asked: ReceivedRequest) -> Reply:
        """To whatever is asked."""
        with self.lock:
            self.at = datetime.fromisoformat(asked.headers.get("x-simulated-at", START.isoformat()))
            channel = channel_of(asked.path)
            return self._provide(asked) if channel is None else self._receive(channel, asked)

    def _provide(self, asked: ReceivedRequest) -> Reply:
        endpoint = ENDPOINTS.get((asked.method, asked.path))
        if endpoint is None:
            return json_reply({"error": "nothing here"}, 404)
        self.polls += 1
        if self.offline > 0:
            self.offline -= 1
            return Reply(reset_connection=True)
        if not self.calm and self.luck.random() < 0.15:
            name = self.luck.choice(sorted(FAULTS))
            self.faults[f"provider: {name}"] += 1
            return FAULTS[name]
        if not self.calm and self.luck.random() < 0.3:
            name = self.luck.choice(SERIES)
            low = self.luck.random() < 0.5
            bounds = (LEAST_LOW, MOST_LOW) if low else (LEAST_HIGH, MOST_HIGH)
            # Less than 60 points up, and never down to ten: nothing that should be doubted.
            self.used[name] = self.luck.randint(*bounds)
        usage = self._use()
        provider = next((name for name, path in PATHS.items() if path == asked.path), None)
        if provider is None:
            return json_reply(endpoint(usage, self.at))
        said = {name: value for name, value in self.used.items() if name.startswith(f"{provider}.")}
        self.served.append(Answer(asked.headers.get("x-life", ""), provider, self.at, said))
        self.note(f"answer {len(self.served)}: {', '.join(f'{name} {value} %' for name, value in said.items())}")
        return json_reply(endpoint(usage, self.at), x_answer=str(len(self.served)))

    def _use(self) -> SimulatedUsage:
        used = self.used
        turns = {name: WindowUsage(float(value), FAR) for name, value in used.items()}
        return structs.replace(
            SimulatedDay().usage_at(START + timedelta(hours=3)),
            claude_session=turns["claude.five_hour"],
            claude_week=turns["claude.seven_day"],
            claude_sonnet_week=WindowUsage(5.0, FAR),
            codex_session=turns["codex.five_hour"],
            codex_week=turns["codex.weekly"],
            copilot_month=CountUsage(used["copilot.premium_interactions"], 100, FAR),
            nano_gpt_day=CountUsage(used["nano_gpt.daily"] * 50, 5000, FAR),
            nano_gpt_month=CountUsage(used["nano_gpt.monthly"] * 600, 60_000, FAR),
            nano_gpt_balance_usd=99.0,
            gemini={"gemini-2.5-pro": turns["gemini_cli.gemini_2_5_pro"], "gemini-2.5-flash": WindowUsage(5.0, FAR)},
        )

    def _receive(self, channel: str, asked: ReceivedRequest) -> Reply:
        self.bodies.append(asked.body)
        reply, heard = self.receivers[channel].take(asked, self.at, self.era, calm=self.calm)
        if heard is not None:
            self.heard.append(heard)
            said = ", ".join(f"{alert} {event}" for alert, event, _ in heard.about) or json.loads(asked.body).get(
                "title"
            )
            self.note(f"{channel} hears {said} from {heard.life}{'' if heard.answered else ', and does not answer'}")
        return reply
