"""Claude subscriptions: `GET https://api.anthropic.com/api/oauth/usage`.

Undocumented by its vendor, observed only; last checked 2026-09. The answer maps window names to `{utilization,
resets_at}`, with `limits` (weekly limits of single models) and `extra_usage` (money, in cents) beside them. Needs the
OAuth token of OpenCode or Claude Code, with the scope `user:profile`. Rate limited hard, per token, and harder for a
`User-Agent` other than Claude Code's.

Who is signed in is taken from local files alone: an account's key never depends on an answer. Only where a login that
does not say whose it is stands beside others, `GET /api/oauth/profile`, else `/account`, is asked after the usage, once
for each token, so that one account under two tokens can be shown once; without an answer both are shown.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from msgspec.structs import replace

from watcher.core.model import Request, Response, Snapshot
from watcher.credentials import OTHERS, Credential, Surroundings, claude_code, opencode_plugins
from watcher.credentials.places import gather
from watcher.errors import ProviderError, RateLimitedError, ShapeChangedError
from watcher.providers import Conversation, Kept, Overrides, Provider, answers, claude_windows

ID, NAME, SIGN_IN = "claude", "Claude", "run `claude` once"
URL = "https://api.anthropic.com/api/oauth/usage"
OWNER_URLS = ("https://api.anthropic.com/api/oauth/profile", "https://api.anthropic.com/api/oauth/account")
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


def ask(credential: Credential, _now: datetime, kept: Kept) -> Conversation:
    """The usage, and whose it is where that decides whether it is shown already."""
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "anthropic-beta": credential.extra.get("beta", BETA),
        "User-Agent": credential.extra.get("agent", AGENT),
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    response: Response = yield Request(url=URL, headers=headers)
    content = answers.read(response, name=NAME, sign_in=SIGN_IN)
    readings = claude_windows.read(content)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (five_hour, seven_day, ...): look for a newer version of this program"
        )
    if credential.extra.get(OTHERS) and kept.get("owner_of") != credential.token:
        kept["owner_of"], kept["owner"] = credential.token, ""
        kept["owner"] = yield from _owner(headers)
    name = kept.get("owner", "") if credential.extra.get(OTHERS) else ""
    return Snapshot(provider=ID, account_name=name, plan=credential.plan, at=response.at, readings=tuple(readings))


def _owner(headers: Mapping[str, str]) -> Generator[Request, Response, str]:
    """The email of whoever signed in, else the account's id; "" where the API says neither, which costs no reading."""
    for url in OWNER_URLS:
        try:
            content = answers.read((yield Request(url=url, headers=headers)), name=NAME, sign_in=SIGN_IN)
        except RateLimitedError:
            return ""
        except ProviderError:
            continue
        account = {**content, **answers.mapping(content.get("account"))}
        names = (answers.text(account.get(key)) for key in ("email", "email_address", "emailAddress", "uuid"))
        found = next((name for name in names if name), "")
        if found:
            return found
    return ""


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
