"""Claude subscriptions: `GET https://api.anthropic.com/api/oauth/usage`.

Undocumented by its vendor, observed only; last checked 2026-09. The answer maps window names to `{utilization,
resets_at}`, with `limits` (weekly limits of single models) and `extra_usage` (money, in cents) beside them. Needs the
OAuth token of OpenCode or Claude Code, with the scope `user:profile`. Rate limited hard, per token, and harder for a
`User-Agent` other than Claude Code's.

Who is signed in is taken from local files alone. The API has a call for it, but one that worked yesterday and fails
today would give the same login two names, and its alerts two lives.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from msgspec.structs import replace

from watcher.core.model import Kind, Reading, Request, Response, Snapshot
from watcher.credentials import Credential, Surroundings, claude_code, opencode_plugins
from watcher.credentials.places import gather
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers

ID, NAME, SIGN_IN = "claude", "Claude", "run `claude` once"
URL = "https://api.anthropic.com/api/oauth/usage"
AGENT, BETA = "claude-code/2.1.80", "oauth-2025-04-20"
NOT_WINDOWS = frozenset({"extra_usage", "limits"})
SHARED = frozenset({"seven_day_design", "seven_day_omelette", "iguana_necktie"})  # count against a limit shown already
ROUTINES = (  # names of one window over time: the first that is filled in is it
    *("seven_day_cowork", "seven_day_routines", "seven_day_claude_routines"),
    *("claude_routines", "routines", "routine", "cowork"),
)


def find(surroundings: Surroundings, overrides: Overrides) -> Sequence[Credential]:
    """Claude logins, OpenCode's first."""
    if overrides.token:
        return [Credential(provider=ID, place="config", path="config", token=overrides.token)]
    path = overrides.credentials
    places = [partial(claude_code.from_opencode, surroundings, path), partial(claude_code.find, surroundings, path)]
    if path is None:
        places.insert(1, partial(opencode_plugins.claude, surroundings))
    return gather(*(partial(_speaking, place, surroundings.env) for place in places))


def _speaking(place: Callable[[], Sequence[Credential]], env: Mapping[str, str]) -> list[Credential]:
    """The place's logins, told to speak as another version of Claude Code where the environment says so."""
    version = env.get("ANTHROPIC_CLI_VERSION", "").strip()
    agent = env.get("ANTHROPIC_CODE_USER_AGENT", "").strip() or (f"claude-code/{version}" if version else AGENT)
    said = {"agent": agent, "beta": env.get("ANTHROPIC_OAUTH_BETA", "").strip() or BETA}
    return [replace(login, extra={**login.extra, **said}) for login in place()]


def ask(credential: Credential, _now: datetime, _kept: Kept) -> Conversation:
    """One question, one answer."""
    response: Response = yield Request(
        url=URL,
        headers={
            "Authorization": f"Bearer {credential.token}",
            "anthropic-beta": credential.extra.get("beta", BETA),
            "User-Agent": credential.extra.get("agent", AGENT),
            "Accept": "application/json",
            "Content-Type": "application/json",
        },
    )
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    readings = read(content)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (five_hour, seven_day, ...): look for a newer version of this program"
        )
    return Snapshot(provider=ID, plan=credential.plan, at=response.at, readings=tuple(readings))


def read(content: Mapping[str, Any]) -> list[Reading]:
    """Every window that can be read, in the answer's order, money last."""
    filled = [name for name in ROUTINES if isinstance(content.get(name), dict)]
    found: dict[str, Reading] = {}
    for key, value in content.items():
        if key in NOT_WINDOWS or key in filled[1:]:
            continue
        window, fields = answers.slug(key), answers.mapping(value)
        reading = _window(window, _label(window), fields.get("utilization"), fields.get("resets_at"))
        if reading is not None:
            found.setdefault(window, reading)
    for entry in answers.mappings(content.get("limits")):
        reading = _limit(entry)
        if reading is not None:
            found.setdefault(reading.window, reading)
    extra = _extra_usage(answers.mapping(content.get("extra_usage")))
    return [*found.values(), *([extra] if extra else [])]


def _window(window: str, label: str, utilization: object, resets_at: object) -> Reading | None:
    weekly = window.startswith("seven_day") or window in ROUTINES
    seconds = answers.WEEK if weekly else 5 * answers.HOUR if window == "five_hour" else None
    reading = answers.share(window, label, utilization, seconds, answers.instant(resets_at))
    return replace(reading, low_confidence=True) if reading and window in SHARED else reading


def _label(window: str) -> str:
    if window == "five_hour":
        return "5-hour window"
    if window in ROUTINES:
        return "weekly routines window"
    if window.startswith("seven_day"):
        model = window.removeprefix("seven_day").replace("_", " ").strip().title()
        return f"weekly {model} window" if model else "weekly window"
    return f"{window.replace('_', ' ')} window"


def _limit(entry: Mapping[str, Any]) -> Reading | None:
    """One of `limits`. The plain ones repeat `five_hour` and `seven_day`, and count only where those are missing."""
    plain = {"session": "five_hour", "weekly_all": "seven_day"}.get(str(entry.get("kind")))
    if plain is not None:
        return _window(plain, _label(plain), entry.get("percent"), entry.get("resets_at"))
    name = answers.text(answers.mapping(answers.mapping(entry.get("scope")).get("model")).get("display_name"))
    if entry.get("kind") != "weekly_scoped" or entry.get("group") != "weekly" or name is None:
        return None
    word = answers.slug(name)
    if word in ("", "all_models", "all"):
        return None
    return _window(f"seven_day_{word}", f"weekly {name} window", entry.get("percent"), entry.get("resets_at"))


def _extra_usage(fields: Mapping[str, Any]) -> Reading | None:
    """Money beyond the subscription; None where it is switched off, or says nothing."""
    currency = answers.text(fields.get("currency", "usd")) if fields.get("currency") is not None else "usd"
    if fields.get("is_enabled") is not True or currency is None:
        return None
    used, limit = (_cents(fields.get(name)) for name in ("used_credits", "monthly_limit"))
    used_percent = answers.percent(fields.get("utilization"))
    if used_percent is None:
        used_percent = answers.ratio(used, limit)
    if used is None and used_percent is None:
        return None
    return Reading(
        window="extra_usage",
        kind=Kind.MONTHLY,
        label="extra usage",
        used_percent=used_percent,
        used=used,
        limit=limit,
        remaining=limit - used if limit is not None and used is not None else None,
        unit=currency.lower(),
    )


def _cents(value: object) -> Decimal | None:
    cents = answers.decimal(value)
    return (cents / 100).quantize(Decimal("0.01")) if cents is not None and cents >= 0 else None


PROVIDER = Provider(
    id=ID,
    name=NAME,
    page="https://claude.ai/settings/usage",
    sign_in=SIGN_IN,
    primary=("five_hour", "seven_day", "seven_day_oauth_apps", "seven_day_sonnet", "seven_day_opus", "extra_usage"),
    find=find,
    ask=ask,
    floor=timedelta(minutes=5),
    default=timedelta(minutes=10),
    ceiling=timedelta(minutes=30),
)
