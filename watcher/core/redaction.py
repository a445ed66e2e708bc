"""Removes secrets from text: known ones by their value, others by their shape."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import lru_cache

_SECRET_PATTERN = re.compile(
    r"""
      sk-ant-[\w-]{8,}                                   # Anthropic
    | \b(?:gh[opsur]_|github_pat_)\w{8,}                 # GitHub
    | \bya29\.[\w.-]{8,}                                 # Google access token
    | \b1//[\w-]{10,}                                    # Google refresh token
    | \beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?             # JSON Web Token
    | \bGOCSPX-[\w-]{8,}                                 # Google client secret
    | (?<=hooks\.slack\.com/services/)[\w/-]+            # Slack webhook
    | (?<=/api/webhooks/)\d+/[\w-]+                      # Discord webhook
    | (?<=[Bb]earer\s)[\w.~+/-]{8,}=*                    # anything presented as a bearer token
    | (?<=[Bb]asic\s)[\w+/-]{8,}=*                       # or as a name and a password
    | (?<=://)[^\s/?\#@"'<>]+(?=@)                       # both of them in a URL
    """,
    re.VERBOSE,
)
_TABLE_HEADER = re.compile(r"""^[ \t]*\[+[ \t]*["']?(\w+)(.*)""", re.MULTILINE)
_SECRET_TABLES = {"channels", "providers", "metrics"}
_PLAIN_TABLES = {"request", "window"}  # of provider files
_USERINFO = re.compile(r"""(?<=://)[^\s"']+(?=@)""")  # up to the last `@`: a password may contain `/` and `@`
_CODE_AND_COMMENT = re.compile(r"""(?P<code>(?:[^"'#]|"(?:\\.|[^"\\])*"|'[^']*')*)(?P<comment>\#.*)""")
_SECRET_WORDS = ("headers", "token", "secret", "password", "topic")  # for keys that are mistyped
_OPEN_KEYS = frozenset(
    {
        *("type", "enabled", "every", "source", "base_url", "server", "insecure", "user_agent", "reset_credits"),
        *("credentials", "database", "accounts", "argv", "timeout", "priority", "success", "host", "port", "security"),
        *("urls", "resend", "lasts", "listen", "textfile", "detail", "account", "instance"),
    }
)
_NAMES_OF_SECRETS = r"(?:secret|token|passw|passphrase|api_?key|authorization|topic|salt)"
_SECRET_KEY = re.compile(_NAMES_OF_SECRETS, re.IGNORECASE)
_SECRET_ARGUMENT = re.compile(rf"""(?<=["' ])(-*\w*{_NAMES_OF_SECRETS}[\w-]*\s*[=:]\s*)([^"']+)""", re.IGNORECASE)
_KEY_ASSIGNMENT = re.compile(
    r"""[ \t]*((?:[\w-]+|"[^"\n]*"|'[^'\n]*')(?:[ \t]*\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*'))*)[ \t]*=""", re.MULTILINE
)
_VALUE_PATTERN = re.compile(
    r"""
      (?P<string>(?P<quote>["'])(?P<content>(?:\\.|(?!(?P=quote)).)*)(?P<end>(?P=quote)?))
    | \#.*                                             # a comment
    | (?P<key>(?<=[{,\s])[\w-]+(?=\s*=\s*[^\s=]))       # a key of an inline table
    | (?:true|false|\d{1,4})(?=[\s,\]}]|$)             # no secret is as short
    | (?P<bare>[^\s\[\]{},="']+)                       # a string without its quotes, for instance
    """,
    re.VERBOSE,
)
_REFERENCE = re.compile(r"env:\w+|file:.*")
_STRING = re.compile(r""""(?:\\.|[^"\\])*"|'[^']*'""")
_SECRET_NAME = rf"(?:url|headers|[\w-]*{_NAMES_OF_SECRETS}[\w-]*)"
_MISPLACED_SECRET = re.compile(
    rf"""^[ \t]*{_SECRET_NAME}(?![\w.-])|(?<![\w.-]){_SECRET_NAME}["']?[ \t]*[=:]""", re.IGNORECASE
)
_MAX_SECRETS = 256
_MIN_MASKABLE_LENGTH = 20  # ten characters of a shorter one would be half of it
_MIN_SECRET_LENGTH = 6  # shorter values would mask ordinary words


def names_secret(key: str) -> bool:
    """Whether a key of that name usually holds a secret."""
    return _SECRET_KEY.search(key) is not None


def mask_secret(secret: str) -> str:
    """A secret as it may be shown: enough to tell two apart, not enough to use."""
    return "***" if len(secret) < _MIN_MASKABLE_LENGTH else f"{secret[:6]}...{secret[-4:]}"


class Redactor:
    """Removes the secrets in use from text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, None] = {}  # latest last
        self._pattern: re.Pattern[str] | None = None
        self.add_secrets(secrets)

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Removes these from every text from now on; ignores values that are too short to be secrets.

        Tokens are renewed while the process runs, so the oldest secrets are dropped when there are many.
        """
        new = {secret: None for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH}
        has_unknown = not new.keys() <= self._secrets.keys()
        kept = {secret: None for secret in self._secrets if secret not in new} | new
        self._secrets = dict.fromkeys(list(kept)[-_MAX_SECRETS:])
        if has_unknown:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))

    def __call__(self, text: str) -> str:
        """The text with each secret as `***`."""
        if self._pattern is not None:
            text = self._pattern.sub("***", text)
        return _SECRET_PATTERN.sub("***", text)


def redact_toml_line(text: str, start: int, line: str) -> str:
    """The line of a TOML text that begins at `start`, with possible secrets as stars; every column stays.

    In the tables of channels, providers and metrics, a value is masked unless its key never holds a secret (a mistyped
    key may) or it only names a place (`env:`, `file:`). In other tables, whose names may be mistyped, only the keys of
    secrets are masked. Comments may hold an old secret or an address, so only those in rules are shown. Outside
    of rules, a line without a key is masked whole.
    """
    line = _USERINFO.sub(_mask_match, line)
    offsets, names = _find_tables(text)
    index = bisect_right(offsets, start) - 1
    is_in_string = any(bisect_left(quotes, start) % 2 for quotes in _find_triple_quotes(text))
    assignment = None if is_in_string else _KEY_ASSIGNMENT.match(line)
    key_parts = _get_key_parts(assignment)
    table = names[index] if index >= 0 else key_parts[0]
    is_header = line.lstrip().startswith("[") and not is_in_string
    if assignment is None and not is_header and table != "rule":
        return _mask_words(line)  # inside a string or an array of several lines, or without its `=`
    if assignment and _may_hold_secret(table, key_parts[-1]):
        return assignment[0] + _VALUE_PATTERN.sub(_mask_value, line[assignment.end() :])
    blank = _STRING.sub(lambda match: " " * len(match[0]), line)
    misplaced = _MISPLACED_SECRET.search(blank, assignment.end() if assignment else 0)
    if misplaced:  # in the wrong table, or behind another value
        line = line[: misplaced.end()] + _mask_words(line[misplaced.end() :])
    elif table == "rule":
        return line
    line = _SECRET_PATTERN.sub(_mask_match, line)
    if not is_header:
        line = _SECRET_ARGUMENT.sub(lambda match: match[1] + "*" * len(match[2]), line)
    return _mask_line_comment(line)


def _get_key_parts(assignment: re.Match[str] | None) -> list[str]:
    """The parts of the key, such as `channels.team.url`; one empty part if there is none."""
    return [part.strip("\"' \t") for part in assignment[1].split(".")] if assignment else [""]


def _may_hold_secret(table: str, key: str) -> bool:
    from difflib import get_close_matches  # noqa: PLC0415 - only where a line of the config is shown

    if _SECRET_KEY.search(key) or "headers" in (table, key):
        return True
    if table in _SECRET_TABLES:
        return key not in _OPEN_KEYS
    return (key == "url" and table not in _PLAIN_TABLES) or bool(get_close_matches(key, _SECRET_WORDS, cutoff=0.7))


def _mask_line_comment(line: str) -> str:
    """The line with its comment as stars. If a string does not end, the text after the first `#` counts as one."""
    found = _CODE_AND_COMMENT.fullmatch(line)
    code = found["code"] if found else line.partition("#")[0]
    return code + _mask_comment(line[len(code) :])


def _mask_comment(comment: str) -> str:
    return comment[:1] + re.sub(r"\S", "*", comment[1:])


def _mask_words(text: str) -> str:
    return re.sub(r"[^\s\"'\[\],]", "*", text)


def _mask_match(match: re.Match[str]) -> str:
    return "*" * len(match[0])


@lru_cache(maxsize=2)  # one file often has many mistakes
def _find_tables(text: str) -> tuple[list[int], list[str]]:
    """The offsets of the table headers in a TOML text, and the first part of each name; a table of headers is that."""
    found = list(_TABLE_HEADER.finditer(text))
    return [each.start() for each in found], ["headers" if "headers" in each[2] else each[1] for each in found]


@lru_cache(maxsize=2)  # likewise
def _find_triple_quotes(text: str) -> list[list[int]]:
    """The offsets of the quotes that begin and end texts of several lines, of each kind."""
    return [[each.start() for each in re.finditer(quotes, text)] for quotes in ('"""', "'''")]


def _mask_value(match: re.Match[str]) -> str:
    if match["string"]:
        content = match["content"]
        is_reference = _REFERENCE.fullmatch(content)
        return match[0] if is_reference else match["quote"] + "*" * len(content) + match["end"]
    if match["bare"] or (match["key"] and not match.string.lstrip().startswith("{")):
        return _mask_match(match)
    return _mask_comment(match[0]) if match[0].startswith("#") else match[0]
