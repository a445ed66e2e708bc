"""A home with four tools, one alert that fires and one channel, and vendors that answer."""

from datetime import UTC, datetime
from pathlib import Path

from blackbox_world import Home, ReceivedRequest, Reply, Server, reply

NOW = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
RULES = """
[[rule]]
name = "session"
when = "claude.five_hour > 80%"
clear = "< 70%"

[[rule]]
name = "weekly"
when = "*.weekly > level"
levels = { info = "50%", warning = "80%", critical = "95%" }

[[rule]]
name = "balance"
when = "nano_gpt.balance_usd.remaining < $5"

[[rule.example]]
series = "nano_gpt.balance_usd"
every = "5m"
remaining = [6, 5, 4]
expect = [".", ".", "F"]
"""


class Vendors:
    """The answers of the vendors; a value that is set here is answered from then on."""

    def __init__(self) -> None:
        self.claude: dict[str, object] = {
            "five_hour": {"utilization": 85.0, "resets_at": "2026-03-04T11:30:30Z"},
            "seven_day": {"utilization": 40.0, "resets_at": "2026-03-08T15:00:00Z"},
        }
        self.codex: dict[str, object] = {
            "plan_type": "pro",
            "rate_limit": {
                "primary_window": {"used_percent": 9, "limit_window_seconds": 18000, "reset_at": 1772622000},
                "secondary_window": {"used_percent": 30, "limit_window_seconds": 604800, "reset_at": 1773000000},
            },
        }
        self.copilot: dict[str, object] = {
            "copilot_plan": "individual_pro",
            "quota_reset_date": "2026-04-01",
            "quota_snapshots": {"premium_interactions": {"entitlement": 1500, "remaining": 1200}},
        }
        self.nano = {
            "active": True,
            "limits": {"daily": 5000, "monthly": 60000},
            "enforceDailyLimit": True,
            "daily": {"used": 5, "remaining": 4995, "percentUsed": 0.001, "resetAt": 1772668800000},
            "monthly": {"used": 45, "remaining": 59955, "percentUsed": 0.00075, "resetAt": 1774000000000},
        }
        self.balance = {"usd_balance": "12.34", "nano_balance": "5"}
        self.overrides: dict[str, Reply] = {}  # path -> the answer there in place of the usual one

    def answer(self, asked: ReceivedRequest) -> Reply:
        """The answer of the vendor of that path, or of a receiver."""
        answers = {
            "/api/oauth/usage": self.claude,
            "/backend-api/wham/usage": self.codex,
            "/copilot_internal/user": self.copilot,
            "/user": {"login": "Octo.Cat"},
            "/api/subscription/v1/usage": self.nano,
            "/api/check-balance": self.balance,
        }
        path = asked.path.partition("?")[0]
        if path in self.overrides:
            return self.overrides[path]
        return reply(answers[path]) if path in answers else reply({"ok": True})


def prepare_home(folder: Path, server: Server, rules: str = RULES, more: str = "") -> Home:
    """The home before its first check."""
    home = Home(folder, {"HOOK_URL": f"{server.url}/hook"})
    home.write(
        ".local/share/opencode/auth.json",
        {
            "anthropic": {"type": "oauth", "access": "sk-ant-oat01-one", "refresh": "never", "expires": 1893456000000},
            "nano-gpt": {"type": "api", "key": "nano-one"},
        },
    )
    tokens = {"access_token": "codex-one", "refresh_token": "never", "id_token": "none", "account_id": "acct-1"}
    home.write(".codex/auth.json", {"tokens": tokens})
    home.write(".config/github-copilot/apps.json", {"github.com:x": {"oauth_token": "gho_one", "user": "Octo.Cat"}})
    home.config(config(server.url, more) + rules)
    return home


def config(url: str, more: str = "") -> str:
    """Providers at that address, and a webhook."""
    names = ("claude", "codex", "copilot", "nano_gpt", "gemini_cli", "antigravity")
    tables = "".join(f'[providers.{name}]\nbase_url = "{url}"\n' for name in names)
    return f'{tables}[channels.hook]\ntype = "webhook"\nurl = "env:HOOK_URL"\n{more}'
