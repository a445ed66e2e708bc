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
from functools import partial

from msgspec.structs import replace

from watcher.core.model import Request, Response, Snapshot
from watcher.credentials import Credential, Surroundings, claude_code, opencode_plugins
from watcher.credentials.places import gather
from watcher.errors import ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, claude_windows

ID, NAME, SIGN_IN = "claude", "Claude", "run `claude` once"
URL = "https://api.anthropic.com/api/oauth/usage"
AGENT, BETA = "claude-code/2.1.80", "oauth-2025-04-20"


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
    readings = claude_windows.read(content)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (five_hour, seven_day, ...): look for a newer version of this program"
        )
    return Snapshot(provider=ID, plan=credential.plan, at=response.at, readings=tuple(readings))


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
