"""Every fault that providers and receivers have shown, row by row: in the mix by name, or the reason why not.

Never answer a request here: `world` does.
"""

from collections.abc import Mapping

from msgspec import Struct, structs

from watcher.demo import server
from watcher.demo.server import Reply, json_reply

LIMIT_S = 1.0  # of a whole answer here; a tool's is 20 s, and no simulated clock shortens what a socket waits
SCALED: Mapping[str, Reply] = {
    "slow": structs.replace(server.FAULTS["slow"], delay_s=3 * LIMIT_S),
    "drip": structs.replace(server.FAULTS["drip"], chunk_delay_s=LIMIT_S / 5),
}
_RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "30s"}
FAULTS: Mapping[str, Reply] = {
    **server.FAULTS,
    **SCALED,
    "429 retry-after a date": json_reply({}, 429, retry_after="Mon, 02 Mar 2026 09:00:00 GMT"),
    "429 retry-after junk": json_reply({}, 429, retry_after="soon"),
    "429 RetryInfo": json_reply(
        {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [_RETRY_INFO]}}, 429
    ),
    "403 nothing remains": json_reply(
        {"message": "API rate limit exceeded"}, 403, x_ratelimit_remaining="0", x_ratelimit_reset="1772442000"
    ),
    "403 wrong scope": json_reply({"error": {"message": "scope requirement user:profile"}}, 403),
    "403 PERMISSION_DENIED": json_reply({"error": {"code": 403, "status": "PERMISSION_DENIED"}}, 403),
    "error as text": json_reply({"error": "something went wrong"}, 400),
    "error in a 200": json_reply({"error": {"message": "something went wrong"}}),
    "detail": json_reply({"detail": "something went wrong"}, 422),
    "503 retry-after": json_reply({}, 503, retry_after="120"),
}
"""What a provider answers in place of an answer."""

RECEIVER = ("refuses", "asks to wait", "takes it, never answers", "takes it, answers too late", "another page", "dead")
WORLD = (
    "clock set",
    "config garbage",
    "disk full",
    "disk full, killed",
    "disk full, killed and started",
    "disk error",
    "folder read-only at the start",
    "folder turns read-only",
    "database destroyed",
    "killed",
    "offline",
    "receiver: refuses for good, mended",
)


class Row(Struct, frozen=True):
    """One fault of the collected facts."""

    what: str
    faults: tuple[str, ...] = ()  # names of `FAULTS`, of `RECEIVER`, or of `WORLD`
    why_not: str = ""


ROWS: tuple[Row, ...] = (
    Row("a token that is expired or revoked (401)", ("401",)),
    Row("no permission (403), the wrong scope, PERMISSION_DENIED", ("403", "403 wrong scope", "403 PERMISSION_DENIED")),
    Row("a network's challenge (403 with cf-mitigated)", ("challenge",)),
    Row("no such endpoint, or none for this token (404)", ("404",)),
    Row("429 without a time, with 0, seconds, a date, junk",
        ("429", "429 retry-after 0", "429 retry-after 600", "429 retry-after a date", "429 retry-after junk")),
    Row("429 with google.rpc.RetryInfo", ("429 RetryInfo",)),
    Row("403 with x-ratelimit-remaining: 0", ("403 nothing remains",)),
    Row("5xx, also as a page, also with Retry-After", ("500", "502 html", "503 retry-after")),
    Row("another status with `error` or `detail`", ("error as text", "detail")),
    Row("an error in a 200", ("error in a 200",)),
    Row("200 with a page, nothing, {}, null, a list", ("html", "empty", "object", "null", "list")),
    Row("torn JSON, not UTF-8, endless nesting, bad gzip", ("torn json", "not utf-8", "deep", "bad gzip")),
    Row("a body past the cap", ("huge",)),
    Row("a redirect to another host", ("elsewhere",)),
    Row("no answer in time, or one that drips (limits scaled to a second)", ("slow", "drip")),
    Row("an answer that breaks off, a connection that is reset", ("cut", "reset")),
    Row("no provider can be reached", ("offline",)),
    Row("a name that is not found, a refused connection, a bad certificate, a proxy", (),
        "there is one server here, on the loopback: tests/system/test_http.py has each of them"),
    Row("UNSUPPORTED_CLIENT of Gemini CLI", (),
        "it is for good, and nothing follows: tests/providers/test_google.py"),
    Row("Antigravity: a file that is torn or locked, a server that is gone, code 16 in a 200", (),
        "no answer over the network: tests/providers/antigravity"),
    Row("a login file that is missing, torn, or changes while it is read", (),
        "what is lost is a login, not an alert: tests/credentials"),
    Row("a refresh token that is revoked (invalid_grant)", (), "it is for good: tests/providers/test_google.py"),
    Row("a receiver that refuses (5xx)", ("refuses",)),
    Row("429 with Retry-After (Slack), with retry_after as JSON (Discord)", ("asks to wait",)),
    Row("the limits of Slack (1 a second) and Discord (5 in 2 s, 30 a minute, X-RateLimit-*)", ("asks to wait",)),
    Row("a receiver that takes it and hangs up, or answers too late",
        ("takes it, never answers", "takes it, answers too late")),
    Row("another page in place of Slack's answer", ("another page",)),
    Row("another page in place of a webhook's answer", (), "a webhook's 200 has no agreed body: nobody could tell"),
    Row("a receiver that is gone", ("dead",)),
    Row("refusals for good of Slack, Discord and webhooks, until the address is changed",
        ("receiver: refuses for good, mended",)),
    Row("the desktop's bus, daemons and programs", (), "no connection, nothing to cut: tests/notifiers/desktop"),
    Row("a command that fails, hangs or ends with 75", (), "no connection either: tests/notifiers/test_command.py"),
    Row("ntfy, Apprise", (), "the same requests as the three that are here: tests/notifiers"),
    Row("a clock that is set, a suspended machine", ("clock set",)),
    Row("SIGKILL", ("killed", "disk full, killed", "disk full, killed and started")),
    Row("a full disk, a disk that fails, a folder that is or turns read-only",
        ("disk full", "disk error", "folder read-only at the start", "folder turns read-only")),
    Row("a destroyed database", ("database destroyed",)),
    Row("a config that is garbage, and whole again", ("config garbage",)),
    Row("a second watcher, signals, logs that rotate", (),
        "decided by the lock: tests/daemon/test_separate_processes.py"),
)  # fmt: skip
"""The facts' order: what providers do, what receivers do, what the machine does."""


def names() -> set[str]:
    """Every fault that is in the mix."""
    return {*FAULTS, *RECEIVER, *WORLD}


def left_out() -> list[str]:
    """The rows that are not in the mix, with the reason."""
    return [f"{row.what}: {row.why_not}" for row in ROWS if row.why_not]
