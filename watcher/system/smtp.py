"""Sends mail by smtplib: one connection for each mail, with STARTTLS or TLS.

Each answer and each address of the host has 15 s, so that the next address is tried if one is silent; `http_process`
ends an attempt that takes longer than `Mail.timeout_s` in all.
"""

import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from urllib.parse import urlsplit

from watcher.core.model import Mail, NetworkSettings, Response
from watcher.errors import BlockedError, OfflineError, ProviderError, TimedOutError
from watcher.system import clock
from watcher.system.http import NO_SETTINGS, get_tls_context

NO_ENCRYPTION = 530
"""RFC 3207: must issue a STARTTLS command first."""

NO_LOGIN = 535
"""RFC 4954: credentials invalid; also for a server that takes none of the methods that we know."""

STEP_TIMEOUT_S = 15.0
_OWN_NAME = "[127.0.0.1]"  # the machine's name is of no use to the server, and to look it up may take long


def send_mail(
    mail: Mail, *, network: NetworkSettings = NO_SETTINGS, now: Callable[[], datetime] = clock.utc_now
) -> Response:
    """The server's answer to the mail, or to the command that it refused. 250 where any recipient was accepted.

    Raises:
        OfflineError: no connection, or it ended.
        TimedOutError: no answer in time.
        BlockedError: the server's certificate is not trusted.
        All have `request_sent` where the mail may have arrived.
    """
    host = urlsplit(mail.url).hostname or ""
    may_arrive = False
    try:
        with closing(_connect(mail, host, network)) as client:
            code, words = _log_in(client, mail, network), b""
            if not code:
                may_arrive = True
                code, words = _submit(client, mail)
    except smtplib.SMTPRecipientsRefused as error:
        code, words = min(error.recipients.values())  # one that may be accepted later decides
    except smtplib.SMTPResponseException as error:
        code, words = error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b""
    except ssl.SSLCertVerificationError:
        raise BlockedError(f"{host}: its certificate is not trusted: look at `ca_bundle` under [network]") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:  # smtplib raises ValueError for a line of garbage
        explained = _explain(error, host)
        explained.request_sent = may_arrive
        raise explained from None
    return Response(status=code, body=words, received_at=now())


def _explain(error: Exception, host: str) -> ProviderError:
    if isinstance(error, TimeoutError):
        return TimedOutError(f"{host}: no answer in time; it is asked again later")
    if isinstance(error, ssl.SSLError):
        return OfflineError(f"{host}: TLS failed; check `port` and `security`; it is asked again later")
    if isinstance(error, (socket.gaierror, ConnectionRefusedError)):
        return OfflineError(f"{host}: cannot be reached; check `host` and `port`; it is asked again later")
    return OfflineError(f"{host}: the connection ended; it is asked again later")


def _connect(mail: Mail, host: str, network: NetworkSettings) -> smtplib.SMTP:
    parts = urlsplit(mail.url)
    port, timeout_s = parts.port or 0, min(mail.timeout_s, STEP_TIMEOUT_S)
    if parts.scheme == "smtps":
        context = get_tls_context(network, verified=True)
        return smtplib.SMTP_SSL(host, port, _OWN_NAME, timeout=timeout_s, context=context)
    return smtplib.SMTP(host, port, _OWN_NAME, timeout=timeout_s)


def _log_in(client: smtplib.SMTP, mail: Mail, network: NetworkSettings) -> int:
    """Encrypt the connection and log in; the code of a refusal, else 0."""
    client.ehlo_or_helo_if_needed()
    if not isinstance(client, smtplib.SMTP_SSL):
        if client.has_extn("starttls"):
            client.starttls(context=get_tls_context(network, verified=True))
        elif not mail.allow_plain:
            return NO_ENCRYPTION
    if mail.username:
        try:
            client.login(mail.username, mail.password)
        except smtplib.SMTPNotSupportedError:
            return NO_LOGIN
    return 0


def _submit(client: smtplib.SMTP, mail: Mail) -> tuple[int, bytes]:
    refused, count = client.sendmail(mail.sender, mail.recipients, mail.body or b""), len(mail.recipients)
    with suppress(smtplib.SMTPException, OSError):
        client.putcmd("quit")  # its answer is not waited for: the mail is accepted
    return 250, b"%d of %d recipients were refused" % (len(refused), count) if refused else b""
