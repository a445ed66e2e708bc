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
from watcher.credentials import OWNER_UNKNOWN_KEY, Credential, HostInfo, claude_code, opencode_plugins
from watcher.credentials.places import collect_credentials
from watcher.errors import ProviderError, RateLimitedError, ShapeChangedError
from watcher.providers import Conversation, Overrides, Provider, ProviderState, answers, claude_windows

ID, NAME, SIGN_IN_HINT = "claude", "Claude", "run `claude` once"
USAGE_URL = "https://api.anthropic.com/api/oauth/usage"
OWNER_URLS = ("https://api.anthropic.com/api/oauth/profile", "https://api.anthropic.com/api/oauth/account")
USER_AGENT, BETA_HEADER = "claude-code/2.1.80", "oauth-2025-04-20"


def find_credentials(host_info: HostInfo, overrides: Overrides) -> Sequence[Credential]:
    """Claude logins, OpenCode's first."""
    if overrides.token:
        return [Credential(provider=ID, source_name="config", path="config", token=overrides.token)]
    path = overrides.credentials
    places = [
        partial(claude_code.find_in_opencode, host_info, path),
        partial(claude_code.find_claude_code_credentials, host_info, path),
    ]
    if path is None:
        places.insert(1, partial(opencode_plugins.find_claude_credentials, host_info))
    return collect_credentials(*(partial(_with_client_headers, place, host_info.env) for place in places))


def _with_client_headers(find: Callable[[], Sequence[Credential]], env: Mapping[str, str]) -> list[Credential]:
    """The place's logins, told to speak as another version of Claude Code where the environment says so."""
    version = env.get("ANTHROPIC_CLI_VERSION", "").strip()
    agent = env.get("ANTHROPIC_CODE_USER_AGENT", "").strip() or (f"claude-code/{version}" if version else USER_AGENT)
    said = {"agent": agent, "beta": env.get("ANTHROPIC_OAUTH_BETA", "").strip() or BETA_HEADER}
    return [replace(login, extra={**login.extra, **said}) for login in find()]


def fetch_usage(credential: Credential, _now: datetime, provider_state: ProviderState) -> Conversation:
    """The usage, and whose it is where that decides whether it is shown already."""
    headers = {
        "Authorization": f"Bearer {credential.token}",
        "anthropic-beta": credential.extra.get("beta", BETA_HEADER),
        "User-Agent": credential.extra.get("agent", USER_AGENT),
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    response: Response = yield Request(url=USAGE_URL, headers=headers)
    content = answers.parse_response(response, name=NAME, sign_in_hint=SIGN_IN_HINT)
    readings = claude_windows.parse_readings(content)
    if not readings:
        raise ShapeChangedError(
            f"{NAME}: no window in the answer (five_hour, seven_day, ...): look for a newer version of this program"
        )
    if credential.extra.get(OWNER_UNKNOWN_KEY) and provider_state.get("owner_of") != credential.token:
        provider_state["owner_of"], provider_state["owner"] = credential.token, ""
        provider_state["owner"] = yield from _fetch_owner(headers)
    name = provider_state.get("owner", "") if credential.extra.get(OWNER_UNKNOWN_KEY) else ""
    return Snapshot(
        provider=ID, account_name=name, plan=credential.plan, at=response.received_at, readings=tuple(readings)
    )


def _fetch_owner(headers: Mapping[str, str]) -> Generator[Request, Response, str]:
    """The email of whoever signed in, else the account's id; "" where the API says neither, which costs no reading."""
    for url in OWNER_URLS:
        try:
            content = answers.parse_response(
                (yield Request(url=url, headers=headers)), name=NAME, sign_in_hint=SIGN_IN_HINT
            )
        except RateLimitedError:
            return ""
        except ProviderError:
            continue
        account = {**content, **answers.as_mapping(content.get("account"))}
        names = (answers.parse_text(account.get(key)) for key in ("email", "email_address", "emailAddress", "uuid"))
        found = next((name for name in names if name), "")
        if found:
            return found
    return ""


PROVIDER = Provider(
    id=ID,
    name=NAME,
    usage_page="https://claude.ai/settings/usage",
    sign_in_hint=SIGN_IN_HINT,
    primary_windows=(
        "five_hour",
        "seven_day",
        "seven_day_oauth_apps",
        "seven_day_sonnet",
        "seven_day_opus",
        "extra_usage",
    ),
    find_credentials=find_credentials,
    fetch_usage=fetch_usage,
    min_interval=timedelta(minutes=5),
    default_interval=timedelta(minutes=10),
    max_interval=timedelta(minutes=30),
)
