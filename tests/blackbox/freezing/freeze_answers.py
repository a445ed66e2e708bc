"""Made `data/answers/`: `OLD/.venv/bin/python freezing/freeze_answers.py OLD`, OLD a checkout of the old version.

The answers are those that the old version's tests had recorded of each provider, moved in time to the instant of their
home, one or two of each provider in a home. What is expected is what the old version made of them, run twice at two
instants: what differed depends on the clock. Not run by any test.
"""
# ruff: noqa: T201, PLR0911, SIM102 - a script, kept as it ran

import json
import re
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent.parent
OLD = Path(sys.argv[1]).resolve()
sys.path[:0] = [str(HERE)]

from blackbox_answers import check_home  # noqa: E402
from freeze import marked  # noqa: E402

RECORDS = OLD / "tests/providers/data"
FOLDER = HERE / "data" / "answers"
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
LEFT_OUT = {"codex/opencode_proxy", "codex/opencode_proxy_without_usage"}  # would go to the vendor's own host
GOOGLE = {"GEMINI_CLIENT_ID": "client-1", "GEMINI_CLIENT_SECRET": "secret-1"}


def record(provider: str, name: str) -> dict[str, Any]:
    found = json.loads((RECORDS / provider / f"{name}.json").read_text())
    return {**found, "provider": provider, "name": name, "key": f"{provider}/{name}"}


def z(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moved(value: Any, by: timedelta) -> Any:
    """The same answer, given at another time."""
    if isinstance(value, dict):
        return {key: moved(each, by) for key, each in value.items()}
    if isinstance(value, list):
        return [moved(each, by) for each in value]
    if isinstance(value, str) and ISO.fullmatch(value):
        return z(datetime.fromisoformat(value) + by)
    if isinstance(value, str) and DAY.fullmatch(value):
        return (datetime.fromisoformat(value) + timedelta(days=round(by / timedelta(days=1)))).date().isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        if 1.6e9 < value < 2.2e9:
            return value + int(by.total_seconds())
        if 1.6e12 < value < 2.2e12:
            return value + int(by.total_seconds()) * 1000
    return value


def exchanges(found: dict[str, Any], at: datetime) -> list[dict[str, Any]]:
    by = at - datetime.fromisoformat(found["at"])
    result = []
    for exchange in found["exchanges"]:
        if exchange["ask"] == "READ":
            continue
        method, _, url = exchange["ask"].partition(" ")
        kept = {"ask": f"{method} {urlsplit(url).path}", **{k: v for k, v in exchange.items() if k != "ask"}}
        if "body" in kept:
            kept["body"] = moved(kept["body"], by)
            if isinstance(kept["body"], dict) and "access_token" in kept["body"]:
                if isinstance(kept["body"]["access_token"], str):
                    kept["body"]["access_token"] = f"ya29.{found['name']}"
        result.append(kept)
    return result


class Layout:
    """One home being filled."""

    def __init__(self, number: int, editor: dict[str, Any] | None, at: str) -> None:
        self.at = at if editor is None else editor["at"]
        self.records = [] if editor is None else [editor["key"]]
        self.env: dict[str, str] = {}
        self.files: dict[str, Any] = {}
        self.exchanges: dict[str, list[dict[str, Any]]] = {}
        self.tables: dict[str, str] = {}
        self.cache = None
        self.again = number % 3 == 0
        self.name = f"home-{number:02d}"
        if editor is not None:
            [read] = editor["exchanges"]
            value = read["rows"][0][0] if read["rows"] and read["rows"][0] else None
            self.cache = {"value": value, "modified_at": read.get("modified_at", editor["at"])}

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.at)

    def opencode(self, key: str, entry: dict[str, Any]) -> None:
        self.files.setdefault(".local/share/opencode/auth.json", {})[key] = entry

    def answers(self, secret: str, found: dict[str, Any]) -> None:
        self.records.append(found["key"])
        self.exchanges[secret] = exchanges(found, self.now)

    def claude(self, all_: list[dict[str, Any]]) -> None:
        if len(all_) == 1:
            secret = f"sk-ant-oat01-{all_[0]['name']}"
            login = {"accessToken": secret, "refreshToken": "never", "expiresAt": ms(self.now + timedelta(hours=5))}
            login |= {"subscriptionType": "max", "scopes": ["user:profile", "user:inference"]}
            self.files[".claude/.credentials.json"] = {"claudeAiOauth": login}
            self.answers(secret, all_[0])
            return
        accounts = []
        for found in all_:
            secret = f"sk-ant-oat01-{found['name']}"
            email = f"{found['name']}@claude.example"
            accounts.append(
                {"id": found["name"], "access": secret, "refresh": "never", "email": email, "enabled": True}
            )
            self.answers(secret, found)
        self.files[".config/opencode/opencode-anthropic-auth/accounts.json"] = {"accounts": accounts}

    def codex(self, all_: list[dict[str, Any]]) -> None:
        accounts = []
        for found in all_:
            extra = found["credential"].get("extra", {})
            secret = f"codex-{found['name']}"
            if "api_key" in extra:
                secret = f"sk-{found['name']}"
                self.files[".codex/auth.json"] = {"OPENAI_API_KEY": secret}
            elif "personal" in extra:
                self.files[".codex/auth.json"] = {"personal_access_token": secret}
            elif found["name"] == "normal":
                tokens = {"access_token": secret, "refresh_token": "never", "id_token": "none", "account_id": "acct-1"}
                self.files[".codex/auth.json"] = {"tokens": tokens, "last_refresh": self.at}
            else:
                number = extra.get("account_id", f"acct-{found['name']}")
                account = {"accountId": number, "email": f"{found['name']}@codex.example", "accessToken": secret}
                accounts.append({**account, "refreshToken": "never", "enabled": True})
            if "reset_credits" in extra:
                self.tables["codex"] = "reset_credits = true\n"
            self.answers(secret, found)
        if accounts:
            self.files[".opencode/openai-codex-accounts.json"] = {"accounts": accounts}

    def copilot(self, all_: list[dict[str, Any]]) -> None:
        for found in all_:
            secret = f"gho_{found['name']}"
            if not found["credential"].get("account"):
                self.opencode("github-copilot", {"type": "oauth", "access": secret, "refresh": secret, "expires": 0})
            else:
                host = found["credential"].get("extra", {}).get("host", "github.com")
                entry = {"oauth_token": secret, "user": f"Octo-{found['name']}"}
                self.files.setdefault(".config/github-copilot/apps.json", {})[f"{host}:Iv1.{found['name']}"] = entry
            self.answers(secret, found)

    def nano_gpt(self, all_: list[dict[str, Any]]) -> None:
        for index, found in enumerate(all_):
            secret = f"nano-{found['name']}"
            if index:
                self.env["NANOGPT_API_KEY"] = secret
            else:
                self.opencode("nano-gpt", {"type": "api", "key": secret})
            self.answers(secret, found)

    def gemini_cli(self, all_: list[dict[str, Any]]) -> None:
        self.env |= GOOGLE
        accounts = []
        for found in all_:
            login = found["credential"]
            secret = f"1//{found['name']}" if login.get("refresh_token") else f"ya29.{found['name']}"
            by = self.now - datetime.fromisoformat(found["at"])
            if login.get("token"):
                ends = datetime.fromisoformat(login["expires_at"]) + by
                access = f"ya29.first.{found['name']}"
                creds = {"access_token": access, "token_type": "Bearer", "expiry_date": ms(ends)}
                if login.get("refresh_token"):
                    creds["refresh_token"] = secret
                self.files[".gemini/oauth_creds.json"] = creds
                self.env["GEMINI_PROJECT_ID"] = login["extra"]["project"]
                self.answers(secret, found)
                self.exchanges[access] = self.exchanges.pop(secret)
                self.exchanges[secret] = [each for each in self.exchanges[access] if each["ask"].endswith("/token")]
                rest = [each for each in self.exchanges[access] if not each["ask"].endswith("/token")]
                self.exchanges[access] = rest[:1]
                self.exchanges[secret] += rest[1:]
                continue
            account = {"email": f"{found['name']}@gemini.example", "refreshToken": secret, "addedAt": 1, "lastUsed": 1}
            if login.get("extra", {}).get("project"):
                account["projectId"] = login["extra"]["project"]
            accounts.append(account)
            self.answers(secret, found)
            if found["name"] == "no_client":
                for name in GOOGLE:
                    del self.env[name]
            if found["name"] == "second_client":
                self.env |= {"GEMINI_OAUTH_CLIENT_ID": "client-2", "GEMINI_OAUTH_CLIENT_SECRET": "secret-2"}
        if accounts:
            content = {"version": 3, "accounts": accounts, "activeIndex": 0}
            self.files[".config/opencode/antigravity-accounts.json"] = content

    def case(self) -> dict[str, Any]:
        names = ("name", "at", "records", "env", "files", "cache", "tables", "exchanges", "again")
        return {name: getattr(self, name) for name in names}


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def dealt(provider: str, homes: int, alone: set[str]) -> list[list[dict[str, Any]]]:
    """The provider's records over the homes; some want a home of their own."""
    names = sorted(path.stem for path in (RECORDS / provider).glob("*.json"))
    records = [record(provider, name) for name in names if f"{provider}/{name}" not in LEFT_OUT]
    single = [[each] for each in records if each["name"] in alone]
    shared = [each for each in records if each["name"] not in alone]
    rest = max(homes - len(single), 1)
    return single + [shared[index::rest] for index in range(rest)]


PAGE = "<!DOCTYPE html><html><head><title>Sign in to this network</title></head></html>"
JSON = {"content-type": "application/json"}
FAULTS: dict[str, dict[str, Any]] = {
    "server_500": {"status": 500, "headers": JSON, "body": {"error": "internal"}},
    "html_502": {"status": 502, "headers": {"content-type": "text/html"}, "text": PAGE},
    "html_200": {"status": 200, "headers": {"content-type": "text/html"}, "text": PAGE},
    "limited_600": {"status": 429, "headers": {**JSON, "retry-after": "600"}, "body": {"error": "slow down"}},
    "limited_unsaid": {"status": 429, "headers": JSON, "body": {"error": "slow down"}},
    "payment_402": {"status": 402, "headers": JSON, "body": {"error": "pay"}},
    "challenge": {"status": 403, "headers": {"content-type": "text/html", "cf-mitigated": "challenge"}, "text": PAGE},
    "nothing": {"status": 200, "headers": JSON, "text": ""},
    "null": {"status": 200, "headers": JSON, "body": None},
    "list": {"status": 200, "headers": JSON, "body": []},
    "object": {"status": 200, "headers": JSON, "body": {}},
    "torn": {"status": 200, "headers": JSON, "text": '{"five_hour": {"utiliz'},
    "not_utf8": {"status": 200, "headers": JSON, "text": '{"plan": "\u00ff\u00fe"}'},
    "bad_gzip": {"status": 200, "headers": {**JSON, "content-encoding": "gzip"}, "text": "not gzip"},
    "elsewhere": {"status": 302, "headers": {"location": "http://elsewhere.invalid/login"}, "text": ""},
    "huge": {"status": 200, "headers": JSON, "huge": True},
    "cut": {"status": 200, "headers": JSON, "body": {"five_hour": None, "seven_day": None}, "how": "cut"},
    "reset": {"how": "reset"},
}
USAGE = {
    "claude": "GET /api/oauth/usage",
    "codex": "GET /backend-api/wham/usage",
    "copilot": "GET /copilot_internal/user",
}


def faulty(number: int, provider: str) -> Layout:
    """A home with one account for each fault."""
    home = Layout(number, None, "2026-01-29T15:00:00Z")
    good = record(provider, "normal")
    cases = [{**good, "name": "well" if provider == "codex" else "normal"}]
    for name, fault in FAULTS.items():
        asks = [{"ask": USAGE[provider], **fault}] * 2
        credential = good["credential"] if provider == "copilot" else {}
        cases.append(
            {
                "provider": provider,
                "name": name.replace("_", "-"),
                "key": f"{provider}/fault {name}",
                "at": home.at,
                "credential": credential,
                "exchanges": asks,
            }
        )
    getattr(home, provider)(cases)
    home.again = True
    return home


def layouts() -> list[Layout]:
    editors = [record("antigravity", path.stem) for path in sorted((RECORDS / "antigravity").glob("*.json"))]
    homes = [Layout(number, editor, "") for number, editor in enumerate(editors, 1)]
    api_keys = {path.stem for path in (RECORDS / "codex").glob("api_key*.json")}
    alone = {
        "claude": {"normal", "signed_out", "rate_limited_with_seconds"},
        "codex": {"resets_asked_for", "resets_refused", "personal_token", "normal"},
        "copilot": {"nameless", "nameless_forever"},
        "nano_gpt": set(),
        "gemini_cli": {"no_client", "second_client", "expired", "token_still_good", "token_refused"},
    }
    for provider, single in alone.items():
        dealing = dealt(provider, len(homes), single)
        if provider == "codex":  # at most one key and one workspace in a home
            keys = [each for group in dealing for each in group if each["name"] in api_keys]
            spends = [each for group in dealing for each in group if each["name"].startswith("spend_controls")]
            dealing = [[each for each in group if each not in keys and each not in spends] for group in dealing]
            for index, each in enumerate(keys + spends):
                dealing[-1 - index % (len(homes) - len(single))].append(each)
        for home, group in zip(homes, dealing, strict=True):
            if group:
                getattr(home, provider)(group)
    return homes + [faulty(len(homes) + index, provider) for index, provider in enumerate(USAGE, 1)]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.json"):
        path.unlink()
    records = 0
    for layout in layouts():
        case = json.loads(json.dumps(layout.case()))
        records += len(case["records"])
        runs = []
        for later in (0, 7):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(check_home(case, Path(folder), timedelta(seconds=later)))
        case["expected"] = marked(*runs)
        (FOLDER / f"{case['name']}.json").write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")
        errors = [
            (a["provider"], a["account"], (a["error"] or {}).get("kind"))
            for a in case["expected"]["status"]["document"]["providers"]
        ]
        print(
            case["name"], case["records"], case["expected"]["check"], errors, case["expected"]["untouched"], flush=True
        )
        if "?" in case["expected"]["asked"]:
            print("   UNKNOWN ASKER", case["expected"]["asked"]["?"])
    print(records, "answers")


main()
