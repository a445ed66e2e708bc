"""Mail through a server of the user's: `{from, to, host, port?, security?, username?, password?, insecure?}`.

RFC 5321, RFC 5322. Plain text. Each message of an alert has the same `References`, so that they are one conversation,
and a repeated message has the same `Message-ID`. Without TLS only on this machine, or with `insecure`. Lost: nothing.
Permanent: every 5xx; 4xx is retried.
"""

import hashlib
import re
from typing import Annotated, Literal

from msgspec import Meta

from watcher.core.model import DeliveryOutcome, Mail, Message, Response, is_loopback
from watcher.notifiers import base

SUBMISSION_PORT, SUBMISSIONS_PORT = 587, 465
TIMEOUT_S = 40.0

_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:]+")
_HINTS = {
    502: "the server does not know a command that is needed; check `port`",
    530: "it offers no encryption or wants a login; check `security`, `username` and `password`",
    534: "it wants another kind of login; for many providers that is an app password",
    535: "it refuses the login; check `username` and `password`: many providers want an app password",
    550: "it refuses the address; check `from` and `to`",
    552: "the mailbox is full",
    553: "it refuses the address; check `from` and `to`",
    554: "it refuses the mail; check `from` and what the server allows",
}


class Settings(base.ChannelSettings, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """`[channels.NAME]` with `type = "email"`."""

    sender: str
    to: str | tuple[str, ...]
    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = SUBMISSION_PORT
    security: Literal["starttls", "tls"] | None = None  # left out: tls at port 465, else starttls
    username: str = ""
    password: str = ""
    insecure: bool = False  # allow a server on another machine without encryption

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.sender):
            raise ValueError("`from` must be one mail address, such as watcher@example.com")
        if not self.recipients or not all(map(_ADDRESS.fullmatch, self.recipients)):
            raise ValueError("`to` must be a mail address or a list of them, such as me@example.com")
        if not _HOST.fullmatch(self.host):
            raise ValueError("`host` must be the name of a mail server, such as smtp.example.com")
        if bool(self.username) != bool(self.password):
            raise ValueError("`username` and `password` need each other: write both, or neither")
        if not (self.username.isascii() and self.username.isprintable()):
            raise ValueError("`username` must be plain ASCII without line ends")

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses of `to`."""
        return (self.to,) if isinstance(self.to, str) else self.to


def build_request(message: Message, settings: Settings) -> Mail:
    """One mail to all recipients."""
    security = settings.security or ("tls" if settings.port == SUBMISSIONS_PORT else "starttls")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Mail(
        method="MAIL",
        url=f"{'smtps' if security == 'tls' else 'smtp'}://{host}:{settings.port}",
        sender=settings.sender,
        recipients=settings.recipients,
        username=settings.username,
        password=settings.password,
        allow_plain=settings.insecure or is_loopback(settings.host),
        body=encode_mail(message, settings),
        timeout_s=TIMEOUT_S,
    )


def encode_mail(message: Message, settings: Settings) -> bytes:
    """The mail, in ASCII: other characters are encoded, and the library refuses a line end in a header."""
    from email.message import EmailMessage  # noqa: PLC0415 - only where a mail is sent
    from email.policy import SMTP  # noqa: PLC0415 - likewise
    from email.utils import format_datetime, formataddr  # noqa: PLC0415 - likewise

    domain = settings.sender.partition("@")[2]
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    mail["From"] = formataddr((base.APP_NAME, settings.sender))
    mail["To"] = ", ".join(settings.recipients)
    mail["Subject"] = base.clip(" ".join(message.title.split()), 250)
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = _make_message_id(message.id, domain)
    mail["References"] = _make_message_id(message.thread, domain)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    numbers = " ".join(part for part in (base.format_usage(message), base.format_remaining(message)) if part)
    parts = (message.body or message.title, numbers, base.get_safe_link(message))
    mail.set_content("\n\n".join(part for part in parts if part))
    return mail.as_bytes()


def _make_message_id(key: str, domain: str) -> str:
    return f"<{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:40]}@{domain}>"


def interpret_result(response: Response, _settings: Settings) -> DeliveryOutcome:
    """2xx: delivered. 4xx: retried. 5xx: the user has to fix it."""
    code = response.status
    answered = f"answered {code}"
    if 200 <= code < 300:  # noqa: PLR2004 - RFC 5321 section 4.2.1, as below
        partly = f", but {response.body.decode('ascii', 'replace')}; check `to`" if response.body else ""
        return DeliveryOutcome(delivered=True, detail=answered + partly)
    if 500 <= code < 600:  # noqa: PLR2004
        hint = _HINTS.get(code, "check the channel's settings")
        return DeliveryOutcome(delivered=False, detail=f"{answered}; {hint}", permanent=True)
    return DeliveryOutcome(delivered=False, detail=f"{answered}; will be sent again")


NOTIFIER = base.Notifier(
    type="email",
    settings_class=Settings,
    build_request=build_request,
    interpret_result=interpret_result,
    secret_settings=("password",),
)
