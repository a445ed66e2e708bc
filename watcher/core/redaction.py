"""Secrets out of text: by value where they are known, by shape where they are not. Never keep other text here."""

import re
from collections.abc import Iterable

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
    """,
    re.VERBOSE,
)
_SHORTEST = 6  # shorter values would blot out ordinary words


def mask(secret: str) -> str:
    """A secret as a person may see it: enough to tell two apart, not enough to use."""
    return "***" if len(secret) <= 10 else f"{secret[:6]}...{secret[-4:]}"  # noqa: PLR2004 - providers' own custom


class Redactor:
    """Knows the secrets in use and takes them out of text."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        """Take these out of every text from now on; what is too short to be a secret is passed over."""
        known = self._known | {secret for secret in secrets if len(secret) >= _SHORTEST}
        if known != self._known:
            self._known = known
            longest_first = sorted(known, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(secret) for secret in longest_first))

    def __call__(self, text: str) -> str:
        """The text with each secret as `***`."""
        if self._pattern is not None:
            text = self._pattern.sub("***", text)
        return _SHAPES.sub("***", text)
