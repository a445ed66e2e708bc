"""Sends mail by smtplib: one connection for each mail, with STARTTLS or TLS."""

import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from urllib.parse import urlsplit

from watcher.core.model import Mail, NetworkSettings, Response
from watcher.errors import BlockedError, OfflineError, ProviderError, TimedOutError
from watcher.system import clock
from watcher.system.http import get_tls_context

NO_ENCRYPTION = 530
"""RFC 3207: must issue a STARTTLS command first."""

NO_LOGIN = 535
"""RFC 4954: credentials invalid; also for a server that takes none of the methods that we know."""

_OWN_NAME = "[127.0.0.1]"  # the machine's name is of no use to the server, and to look it up may take long
_STEP_TIMEOUT_S = 15.0  # for one answer of the server


def send_mail(
    mail: Mail, *, network: NetworkSettings | None = None, now: Callable[[], datetime] = clock.utc_now
) -> Response:
    """The server's answer to the mail, or to the command that it refused. 250 where any recipient was accepted.

    Raises:
        OfflineError: no connection, or it ended.
        TimedOutError: no answer in time.
        BlockedError: the server's certificate is not trusted.
        All have `request_sent` where the mail may have arrived.
    """
    host = urlsplit(mail.url).hostname or ""
    submission = _Submission(mail, host, network or NetworkSettings())
    try:
        code, words = submission.run()
    except smtplib.SMTPResponseException as error:
        code, words = error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b""
    except ssl.SSLCertVerificationError:
        raise BlockedError(f"{host}: its certificate is not trusted: look at `ca_bundle` under [network]") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:  # smtplib raises ValueError for a line of garbage
        raise _explain(error, host, submission) from None
    return Response(status=code, body=words, received_at=now())


def _explain(error: Exception, host: str, submission: "_Submission") -> ProviderError:
    found: ProviderError
    if submission.is_late or isinstance(error, TimeoutError):
        found = TimedOutError(f"{host}: no answer in time; it is asked again later")
    elif isinstance(error, socket.gaierror):
        found = OfflineError(f"{host}: not found; check `host`; it is asked again later")
    elif isinstance(error, ssl.SSLError):
        found = OfflineError(f"{host}: TLS failed; check `port` and `security`; it is asked again later")
    elif isinstance(error, ConnectionRefusedError):
        found = OfflineError(f"{host}: refused the connection; check `host` and `port`; it is asked again later")
    else:
        found = OfflineError(f"{host}: the connection ended; it is asked again later")
    found.request_sent = submission.is_mail_sent
    return found


class _Submission:
    """One attempt, aborted at the deadline: a server may answer a byte a second."""

    def __init__(self, mail: Mail, host: str, network: NetworkSettings) -> None:
        self._mail, self._host, self._network = mail, host, network
        self.is_late = self.is_mail_sent = False

    def run(self) -> tuple[int, bytes]:
        parts = urlsplit(self._mail.url)
        port = parts.port or 0
        if parts.scheme == "smtps":
            context = get_tls_context(self._network, verified=True)
            client: smtplib.SMTP = smtplib.SMTP_SSL(local_hostname=_OWN_NAME, timeout=_STEP_TIMEOUT_S, context=context)
        else:
            client = smtplib.SMTP(local_hostname=_OWN_NAME, timeout=_STEP_TIMEOUT_S)
        client._host = self._host  # type: ignore[attr-defined]  # noqa: SLF001 - the name in the certificate; set only by the constructor that connects
        timer = threading.Timer(self._mail.timeout_s, self._stop, [client])
        timer.daemon = True
        timer.start()
        try:
            code, words = client.connect(self._host, port)
            return self._submit(client) if code == 220 else (code, words)  # noqa: PLR2004 - RFC 5321: service ready
        finally:
            timer.cancel()
            client.close()

    def _stop(self, client: smtplib.SMTP) -> None:
        self.is_late = True
        if client.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(client.sock, socket.SHUT_RDWR)

    def _submit(self, client: smtplib.SMTP) -> tuple[int, bytes]:
        mail = self._mail
        client.ehlo_or_helo_if_needed()
        if not isinstance(client, smtplib.SMTP_SSL):
            if client.has_extn("starttls"):
                client.starttls(context=get_tls_context(self._network, verified=True))
                client.ehlo()
            elif not mail.allow_plain:
                return NO_ENCRYPTION, b""
        if mail.username:
            try:
                client.login(mail.username, mail.password)
            except smtplib.SMTPNotSupportedError:
                return NO_LOGIN, b""
        code, words = client.mail(mail.sender)
        if not _is_good(code):
            return code, words
        answers = [client.rcpt(recipient) for recipient in mail.recipients]
        accepted = [answer for answer in answers if _is_good(answer[0])]
        if not accepted:
            return min(answers)  # one that may be accepted later decides
        self.is_mail_sent = True
        code, words = client.data(mail.body or b"")
        with suppress(smtplib.SMTPException, OSError):
            client.quit()
        refused = len(answers) - len(accepted)
        return code, b"%d of %d recipients were refused" % (refused, len(answers)) if refused else b""


def _is_good(code: int) -> bool:
    return code // 100 == 2  # noqa: PLR2004 - RFC 5321 section 4.2.1
