"""Removes secrets from text: known ones by their value, others by their shape."""

import re
from bisect import bisect_right
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
_TABLE_HEADER = re.compile(r"""^[ \t]*\[+[ \t]*["']?(\w+)""", re.MULTILINE)
_FIRST_WORD = re.compile(r"""\s*["']?(\w+)""")
_SECRET_TABLES = {"channels", "providers"}
_USERINFO = re.compile(r"""(?<=://)[^\s"']+(?=@)""")  # up to the last `@`: a password may contain `/` and `@`
_CODE_AND_COMMENT = re.compile(r"""(?P<code>(?:[^"'#]|"(?:\\.|[^"\\])*"|'[^']*')*)(?P<comment>\#.*)""")
_NON_SECRET_KEY = re.compile(r"\s*(?:type|every|enabled|source|priority|timeout|base_url|user_agent|reset_credits)\s*=")
_KEY_ASSIGNMENT = re.compile(r"""\s*(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*\s*=""")
_VALUE_PATTERN = re.compile(
    r"""
      (?P<string>(?P<quote>["'])(?P<content>(?:\\.|(?!(?P=quote)).)*)(?P<end>(?P=quote)?))
    | \#.*                                             # a comment
    | (?:(?<=[{,\s])[\w-]+(?=\s*=\s*[^\s=]))           # a key of an inline table
    | (?:true|false|\d{1,4})(?=[\s,\]}]|$)             # no secret is as short
    | (?P<bare>[^\s\[\]{},="']+)                       # a string without its quotes, for instance
    """,
    re.VERBOSE,
)
_REFERENCE_PREFIXES = ("env:", "file:")
_MAX_SECRETS = 256
_MIN_MASKABLE_LENGTH = 20  # ten characters of a shorter one would be half of it
_MIN_SECRET_LENGTH = 6  # shorter values would mask ordinary words


def mask_secret(secret: str) -> str:
    """A secret as it may be shown: enough to tell two apart, not enough to use."""
    return "***" if len(secret) < _MIN_MASKABLE_LENGTH else f"{secret[:6]}...{secret[-4:]}"


class Redactor:
    """Removes the secrets in use from text."""

    def __init__(self) -> None:
        self._secrets: dict[str, None] = {}  # latest last
        self._pattern: re.Pattern[str] | None = None

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

    In the tables of channels and providers, all strings are masked, because a mistyped key may hold a secret, except
    those of keys that never hold one and those that only name a place (`env:`, `file:`). Comments may hold an old
    secret or an address, so only those in rules are shown.
    """
    line = _USERINFO.sub(_mask_match, line)
    offsets, names = _find_tables(text)
    index = bisect_right(offsets, start) - 1
    first_word = _FIRST_WORD.match(line)
    table = names[index] if index >= 0 else first_word[1] if first_word else ""
    if table == "rule":
        return line
    if table not in _SECRET_TABLES or _NON_SECRET_KEY.match(line) or line.lstrip().startswith("["):
        return _mask_line_comment(line)
    table_start = offsets[index] if index >= 0 else 0
    if not _KEY_ASSIGNMENT.match(line) or _ends_in_open_string(text[table_start:start]):
        return re.sub(r"[^\s\"'\[\],]", "*", line)  # inside a string or an array of several lines
    value_start = line.index("=") + 1
    return line[:value_start] + _VALUE_PATTERN.sub(_mask_value, line[value_start:])


def _mask_line_comment(line: str) -> str:
    """The line with its comment as stars. If a string does not end, the text after the first `#` counts as one."""
    found = _CODE_AND_COMMENT.fullmatch(line)
    code = found["code"] if found else line.partition("#")[0]
    return code + _mask_comment(line[len(code) :])


def _mask_comment(comment: str) -> str:
    return comment[:1] + re.sub(r"\S", "*", comment[1:])


def _mask_match(match: re.Match[str]) -> str:
    return "*" * len(match[0])


def _ends_in_open_string(text: str) -> bool:
    """Whether a string of several lines is open at the end of `text`."""
    return any(text.count(quotes) % 2 for quotes in ('"""', "'''"))


@lru_cache(maxsize=2)  # one file often has many mistakes
def _find_tables(text: str) -> tuple[list[int], list[str]]:
    """The offsets of the table headers in a TOML text, and the first part of each table's name."""
    found = list(_TABLE_HEADER.finditer(text))
    return [each.start() for each in found], [each[1] for each in found]


def _mask_value(match: re.Match[str]) -> str:
    if match["string"]:
        content = match["content"]
        is_reference = content.startswith(_REFERENCE_PREFIXES)
        return match[0] if is_reference else match["quote"] + "*" * len(content) + match["end"]
    if match["bare"]:
        return _mask_match(match)
    return _mask_comment(match[0]) if match[0].startswith("#") else match[0]
