"""Secrets out of text: by value where they are known, by shape where they are not. Never keep other text here."""

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
    | (?<=://)[^\s/?\#@"'<>]+(?=@)                       # both of them in a web address
    """,
    re.VERBOSE,
)
_TABLE_HEADER = re.compile(r"""^[ \t]*\[+[ \t]*["']?(\w+)""", re.MULTILINE)
_FIRST_WORD = re.compile(r"""\s*["']?(\w+)""")
_SECRET_TABLES = {"channels", "providers"}
_USERINFO = re.compile(r"""(?<=://)[^\s"']+(?=@)""")  # to the last `@`: a password may hold what no address should
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
_MAX_SECRETS = 256  # secrets known at a time
_MIN_MASKABLE_LENGTH = 20  # of a shorter one, ten characters would be half
_MIN_SECRET_LENGTH = 6  # shorter values would blot out ordinary words


def mask_secret(secret: str) -> str:
    """A secret as a person may see it: enough to tell two apart, not enough to use."""
    return "***" if len(secret) < _MIN_MASKABLE_LENGTH else f"{secret[:6]}...{secret[-4:]}"


class Redactor:
    """Knows the secrets in use and takes them out of text."""

    def __init__(self) -> None:
        self._secrets: dict[str, None] = {}  # latest last
        self._pattern: re.Pattern[str] | None = None

    def add_secrets(self, secrets: Iterable[str]) -> None:
        """Take these out of every text from now on; what is too short to be a secret is passed over.

        Tokens are renewed for as long as the process lives: those not learnt again are forgotten after many others.
        """
        new = {secret: None for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH}
        unheard = not new.keys() <= self._secrets.keys()
        kept = {secret: None for secret in self._secrets if secret not in new} | new
        self._secrets = dict.fromkeys(list(kept)[-_MAX_SECRETS:])
        if unheard:
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))

    def __call__(self, text: str) -> str:
        """The text with each secret as `***`."""
        if self._pattern is not None:
            text = self._pattern.sub("***", text)
        return _SECRET_PATTERN.sub("***", text)


def redact_toml_line(text: str, start: int, line: str) -> str:
    """A line of a TOML text, from `start`, fit to be shown: what may be a secret becomes stars, every column stays.

    Secrets stand as strings in the tables of channels and providers. A mistyped key may hold one too, so all strings
    there are hidden but those of keys that never do and those that only say where the secret is. A comment may hold
    what was there before, or another's address: only a rule's own are shown.
    """
    line = _USERINFO.sub(_mask_match, line)
    places, names = _find_tables(text)
    before = bisect_right(places, start) - 1
    first = _FIRST_WORD.match(line)
    name = names[before] if before >= 0 else first[1] if first else ""
    if name == "rule":
        return line
    if name not in _SECRET_TABLES or _NON_SECRET_KEY.match(line) or line.lstrip().startswith("["):
        return _mask_line_comment(line)
    begun = places[before] if before >= 0 else 0
    if not _KEY_ASSIGNMENT.match(line) or _ends_in_open_string(
        text[begun:start]
    ):  # a string or an array of several lines
        return re.sub(r"[^\s\"'\[\],]", "*", line)
    place = line.index("=") + 1
    return line[:place] + _VALUE_PATTERN.sub(_mask_value, line[place:])


def _mask_line_comment(line: str) -> str:
    """The line with its comment as stars; where a string does not end, what follows the first `#` may be one."""
    found = _CODE_AND_COMMENT.fullmatch(line)
    code = found["code"] if found else line.partition("#")[0]
    return code + _mask_comment(line[len(code) :])


def _mask_comment(comment: str) -> str:
    return comment[:1] + re.sub(r"\S", "*", comment[1:])


def _mask_match(match: re.Match[str]) -> str:
    return "*" * len(match[0])


def _ends_in_open_string(text: str) -> bool:
    """Whether a string of several lines is open where `text` ends."""
    return any(text.count(quotes) % 2 for quotes in ('"""', "'''"))


@lru_cache(maxsize=2)  # one file often has many mistakes
def _find_tables(text: str) -> tuple[list[int], list[str]]:
    """Where the tables of a TOML text begin, and the first part of each one's name."""
    found = list(_TABLE_HEADER.finditer(text))
    return [each.start() for each in found], [each[1] for each in found]


def _mask_value(match: re.Match[str]) -> str:
    if match["string"] is None:
        return (
            "*" * len(match[0]) if match["bare"] else _mask_comment(match[0]) if match[0].startswith("#") else match[0]
        )
    opening, content, closing = match["quote"], match["content"], match["end"]
    return match[0] if content.startswith(_REFERENCE_PREFIXES) else opening + "*" * len(content) + closing
