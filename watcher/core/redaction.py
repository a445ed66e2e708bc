"""Secrets out of text: by value where they are known, by shape where they are not. Never keep other text here."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache

_SHAPES = re.compile(
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
_TABLE = re.compile(r"""^[ \t]*\[+[ \t]*["']?(\w+)""", re.MULTILINE)
_FIRST = re.compile(r"""\s*["']?(\w+)""")
_SECRET_TABLES = {"channels", "providers"}
_USERINFO = re.compile(r"""(?<=://)[^\s"']+(?=@)""")  # to the last `@`: a password may hold what no address should
_COMMENT = re.compile(r"""(?P<code>(?:[^"'#]|"(?:\\.|[^"\\])*"|'[^']*')*)(?P<comment>\#.*)""")
_PLAIN = re.compile(r"\s*(?:type|every|enabled|source|priority|timeout|base_url|user_agent|reset_credits)\s*=")
_KEY = re.compile(r"""\s*(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*\s*=""")
_VALUE = re.compile(
    r"""
      (?P<string>(?P<quote>["'])(?P<content>(?:\\.|(?!(?P=quote)).)*)(?P<end>(?P=quote)?))
    | \#.*                                             # a comment
    | (?:(?<=[{,\s])[\w-]+(?=\s*=\s*[^\s=]))           # a key of an inline table
    | (?:true|false|\d{1,4})(?=[\s,\]}]|$)             # no secret is as short
    | (?P<bare>[^\s\[\]{},="']+)                       # a string without its quotes, for instance
    """,
    re.VERBOSE,
)
_ELSEWHERE = ("env:", "file:")
_MOST = 256  # secrets known at a time
_MASKABLE = 20  # of a shorter one, ten characters would be half
_SHORTEST = 6  # shorter values would blot out ordinary words


def mask(secret: str) -> str:
    """A secret as a person may see it: enough to tell two apart, not enough to use."""
    return "***" if len(secret) < _MASKABLE else f"{secret[:6]}...{secret[-4:]}"


class Redactor:
    """Knows the secrets in use and takes them out of text."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}  # latest last
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        """Take these out of every text from now on; what is too short to be a secret is passed over.

        Tokens are renewed for as long as the process lives: those not learnt again are forgotten after many others.
        """
        new = {secret: None for secret in secrets if len(secret) >= _SHORTEST}
        unheard = not new.keys() <= self._known.keys()
        kept = {secret: None for secret in self._known if secret not in new} | new
        self._known = dict.fromkeys(list(kept)[-_MOST:])
        if unheard:
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))

    def __call__(self, text: str) -> str:
        """The text with each secret as `***`."""
        if self._pattern is not None:
            text = self._pattern.sub("***", text)
        return _SHAPES.sub("***", text)


def concealed(text: str, start: int, line: str) -> str:
    """A line of a TOML text, from `start`, fit to be shown: what may be a secret becomes stars, every column stays.

    Secrets stand as strings in the tables of channels and providers. A mistyped key may hold one too, so all strings
    there are hidden but those of keys that never do and those that only say where the secret is. A comment may hold
    what was there before, or another's address: only a rule's own are shown.
    """
    line = _USERINFO.sub(_stars, line)
    places, names = _tables(text)
    before = bisect_right(places, start) - 1
    first = _FIRST.match(line)
    name = names[before] if before >= 0 else first[1] if first else ""
    if name == "rule":
        return line
    if name not in _SECRET_TABLES or _PLAIN.match(line) or line.lstrip().startswith("["):
        return _without_comment(line)
    begun = places[before] if before >= 0 else 0
    if not _KEY.match(line) or _is_within_string(text[begun:start]):  # a string or an array of several lines
        return re.sub(r"[^\s\"'\[\],]", "*", line)
    place = line.index("=") + 1
    return line[:place] + _VALUE.sub(_starred_value, line[place:])


def _without_comment(line: str) -> str:
    """The line with its comment as stars; where a string does not end, what follows the first `#` may be one."""
    found = _COMMENT.fullmatch(line)
    code = found["code"] if found else line.partition("#")[0]
    return code + _hidden(line[len(code) :])


def _hidden(comment: str) -> str:
    return comment[:1] + re.sub(r"\S", "*", comment[1:])


def _stars(found: re.Match[str]) -> str:
    return "*" * len(found[0])


def _is_within_string(before: str) -> bool:
    """Whether a string of several lines is open where `before` ends."""
    return any(before.count(quotes) % 2 for quotes in ('"""', "'''"))


@lru_cache(maxsize=2)  # one file often has many mistakes
def _tables(text: str) -> tuple[list[int], list[str]]:
    """Where the tables of a TOML text begin, and the first part of each one's name."""
    found = list(_TABLE.finditer(text))
    return [each.start() for each in found], [each[1] for each in found]


def _starred_value(part: re.Match[str]) -> str:
    if part["string"] is None:
        return "*" * len(part[0]) if part["bare"] else _hidden(part[0]) if part[0].startswith("#") else part[0]
    opening, content, closing = part["quote"], part["content"], part["end"]
    return part[0] if content.startswith(_ELSEWHERE) else opening + "*" * len(content) + closing
