"""The channel `email` against aiosmtpd: encryption, logins, refusals by code, and mails that cannot be forged."""

import email
import email.policy
import socket
import ssl
import sys
import threading
import time
from contextlib import contextmanager

import msgspec
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from tests.notifiers.conftest import NOW
from watcher import notifiers
from watcher.core.model import NetworkSettings
from watcher.system import smtp

pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


TITLE = "Größe \U0001f680 82 %"
HOSTILE = ("a\r\nBcc: evil@x.example", "a\nBcc: evil@x.example\n\nbody", "a\rb", "\x00\u2028b\x0bBcc: x")


class Mailbox:
    """Keeps the envelopes; `answers` are its words at each step."""

    def __init__(self, **answers):
        self.answers, self.envelopes = answers, []

    async def handle_MAIL(self, _server, _session, envelope, address, _options):  # noqa: N802 - the library's name
        envelope.mail_from = address
        return self.answers.get("mail", "250 OK")

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802 - likewise
        answer = self.answers.get(address, self.answers.get("rcpt", "250 OK"))
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, _session, envelope):  # noqa: N802 - likewise
        self.envelopes.append((server.transport.get_extra_info("ssl_object") is not None, envelope))
        return self.answers.get("data", "250 OK")


class Loopback(Controller):
    """On a port that is taken before it is known."""

    def __init__(self, mailbox, **kwargs):
        self.listener = socket.create_server(("127.0.0.1", 0))
        super().__init__(mailbox, "127.0.0.1", self.listener.getsockname()[1], ready_timeout=60, **kwargs)

    def _create_server(self):
        return self.loop.create_server(self._factory_invoker, sock=self.listener, ssl=self.ssl_context)

    def factory(self):
        return SMTP(self.handler, **self.SMTP_kwargs)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    own = trustme.CA()
    own.cert_pem.write_to_path(tmp_path_factory.mktemp("ca") / "ca.pem")
    own.file = next(tmp_path_factory.getbasetemp().glob("ca*/ca.pem"))
    return own


def make_server_context(authority, host="127.0.0.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


@contextmanager
def serve(mailbox, **kwargs):
    controller = Loopback(mailbox, **kwargs)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def log_in(_server, _session, _envelope, _mechanism, data):
    return AuthResult(handled=False, success=(data.login, data.password) == (b"w", b"plantedsecret"))


@pytest.fixture
def deliver(channel, message):
    def attempt(port, how=None, network=None, **changes):
        settings = {"port": port, "username": "", "password": ""} | (how or {})
        return notifiers.send_message(
            message(**changes),
            channel("email", **settings),
            send=lambda mail: smtp.send_mail(mail, network=network or NetworkSettings()),
            run=None,
        )

    return attempt


def test_a_mail_arrives_with_both_texts_in_utf_8(deliver):
    mailbox = Mailbox()
    with serve(mailbox) as port:
        outcome = deliver(port, {"to": ["a@x.example", "b@x.example"]}, title=TITLE, body="zwölf\n.\nx")
    assert outcome.delivered, outcome.detail
    [(_, envelope)] = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("w@x.example", ["a@x.example", "b@x.example"])
    assert envelope.content.isascii()
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert mail["Subject"] == TITLE
    assert mail["To"] == "a@x.example, b@x.example"
    assert mail["Date"].datetime == NOW
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content().replace("\r\n", "\n")
    assert text.startswith("zwölf\n.\nx\n")
    assert "claude-session|" not in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_text_becomes_a_header(deliver, hostile):
    mailbox = Mailbox()
    with serve(mailbox) as port:
        assert deliver(port, title=hostile, body=hostile, id=hostile, thread=hostile).delivered
    [(_, envelope)] = mailbox.envelopes
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert mail["Bcc"] is None
    assert envelope.rcpt_tos == ["me@x.example"]


def test_a_repeat_has_the_same_id_and_an_alert_is_one_conversation(compose):
    first, repeat, end = (
        email.message_from_bytes(compose("email", **changes).body)
        for changes in ({}, {}, {"id": "claude-session|claude.five_hour|3|resolved", "event": "resolved"})
    )
    assert first["Message-ID"] == repeat["Message-ID"] != end["Message-ID"]
    assert first["References"] == end["References"]


@pytest.mark.parametrize(
    ("answers", "delivered", "permanent", "words"),
    [
        ({"mail": "550 no"}, False, True, "answered 550; it refuses the address"),
        ({"mail": "451 later"}, False, False, "answered 451; will be sent again"),
        ({"rcpt": "550 unknown"}, False, True, "answered 550"),
        ({"a@x.example": "450 greylisted", "b@x.example": "550 unknown"}, False, False, "answered 450"),
        ({"b@x.example": "550 unknown"}, True, False, "1 of 2 recipients were refused"),
        ({"data": "554 spam plantedsecret"}, False, True, "answered 554"),
        ({"data": "452 full"}, False, False, "answered 452"),
    ],
    ids=str,
)
def test_a_refusal_is_permanent_or_retried_by_its_code(deliver, answers, delivered, permanent, words):
    with serve(Mailbox(**answers)) as port:
        outcome = deliver(port, {"to": ["a@x.example", "b@x.example"]})
    assert (outcome.delivered, outcome.permanent) == (delivered, permanent)
    assert words in outcome.detail
    assert "plantedsecret" not in outcome.detail


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_is_encrypted_and_logs_in(deliver, authority, security):
    context = make_server_context(authority)
    mailbox = Mailbox()
    kwargs = {"tls_context": context, "require_starttls": True} if security == "starttls" else {"ssl_context": context}
    kwargs |= {"authenticator": log_in, "auth_required": True, "auth_require_tls": security == "starttls"}
    network = NetworkSettings(ca_bundle=str(authority.file))
    login = {"security": security, "username": "w", "password": "plantedsecret"}
    with serve(mailbox, **kwargs) as port:
        good = deliver(port, login, network)
        wrong = deliver(port, login | {"password": "other"}, network)
        untrusted = deliver(port, login)
    assert good.delivered, good.detail
    [(is_encrypted, _)] = mailbox.envelopes
    assert is_encrypted
    assert (wrong.delivered, wrong.permanent) == (False, True)
    assert "answered 535; it refuses the login" in wrong.detail
    assert (untrusted.delivered, untrusted.permanent) == (False, False)
    assert "its certificate is not trusted" in untrusted.detail


def test_a_certificate_of_another_host_is_refused(deliver, authority):
    context = make_server_context(authority, "other.example")
    with serve(Mailbox(), ssl_context=context) as port:
        outcome = deliver(port, {"security": "tls"}, NetworkSettings(ca_bundle=str(authority.file)))
    assert "its certificate is not trusted" in outcome.detail


def test_plain_goes_only_to_this_machine_or_where_it_is_allowed(compose):
    assert compose("email").allow_plain
    assert compose("email", {"host": "localhost"}).allow_plain
    assert not compose("email", {"host": "mail.example"}).allow_plain
    assert compose("email", {"host": "mail.example", "insecure": True}).allow_plain


def test_nothing_is_sent_where_encryption_is_missing(compose):
    mailbox = Mailbox()
    with serve(mailbox) as port:
        mail = msgspec.structs.replace(compose("email", {"port": port}), allow_plain=False)
        assert smtp.send_mail(mail).status == smtp.NO_ENCRYPTION
    assert mailbox.envelopes == []


def test_no_server_is_no_outcome_but_a_retry(deliver):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        outcome = deliver(free.getsockname()[1])
    assert (outcome.delivered, outcome.permanent) == (False, False)
    assert "cannot be reached; check `host` and `port`; it will be sent again" in outcome.detail


def greet_and_hang(listener, words):
    connection, _ = listener.accept()
    with connection:
        connection.sendall(words)
        try:
            while connection.recv(1000):
                pass
        except OSError:
            pass


@pytest.mark.parametrize("words", [b"", b"2", b"220 hello\r\n", b"\xff\xfe\r\n"])
def test_a_server_that_hangs_or_babbles_ends_in_time(channel, message, words):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet_and_hang, args=(listener, words), daemon=True).start()

        def send(mail):
            return smtp.send_mail(msgspec.structs.replace(mail, timeout_s=0.3))

        mine = channel("email", port=listener.getsockname()[1])
        outcome = notifiers.send_message(message(), mine, send=send, run=None)
    assert (outcome.delivered, outcome.permanent, outcome.retry_after) == (False, False, None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a second loopback address")
def test_a_silent_address_of_the_server_leaves_time_for_the_next_one(deliver, monkeypatch):
    """Many networks have a route for IPv6 that leads nowhere."""
    monkeypatch.setattr(smtp, "STEP_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.2", 0), backlog=0) as silent:
        port = silent.getsockname()[1]
        with socket.create_connection(("127.0.0.2", port)), socket.create_server(("127.0.0.1", port)) as listener:
            threading.Thread(target=accept_and_hang, args=(listener,), daemon=True).start()
            found = [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
            assert deliver(port).delivered


def accept_and_hang(listener):
    """Take a mail, and then say nothing more."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as lines:
        connection.sendall(b"220 hello\r\n")
        for line in lines:
            if line.upper().startswith(b"DATA"):
                connection.sendall(b"354 go on\r\n")
            elif line == b".\r\n":
                connection.sendall(b"250 taken\r\n")
            elif line.upper().startswith((b"EHLO", b"MAIL", b"RCPT")):
                connection.sendall(b"250 ok\r\n")


def test_a_mail_that_was_taken_is_sent_at_once_whatever_comes_after(channel, message):
    """A goodbye that hangs would end the attempt without an outcome: the mail would be sent again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept_and_hang, args=(listener,), daemon=True).start()
        mine = channel("email", port=listener.getsockname()[1], username="", password="")
        started = time.perf_counter()
        outcome = notifiers.send_message(message(), mine, send=smtp.send_mail, run=None)
    assert (outcome.delivered, outcome.permanent) == (True, False)
    assert time.perf_counter() - started < 20  # half of the limit for one answer


@pytest.mark.parametrize(
    "how",
    [
        {"from": "a\nb@x.example"}, {"from": "Name <a@x.example>"}, {"to": []}, {"to": "a@x.example, b@x.example"},
        {"to": ["a@x.example\r\nDATA"]}, {"host": "a/b"}, {"host": "a\nb"}, {"port": 0}, {"security": "ssl"},
        {"username": "w", "password": ""}, {"username": "w\n"},
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(channel, how):
    with pytest.raises(msgspec.ValidationError):
        channel("email", **how)
