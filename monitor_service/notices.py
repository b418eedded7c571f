"""Where notices go: a webhook that takes Slack's JSON, and e-mail. Nothing is decided here.

Addresses hold secrets, so an error names the host alone.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import requests

from astra.alerts import Notice
from astra.errors import ConfigError, TemporaryError
from astra.settings import Settings

WEBHOOK_SECONDS, MAIL_SECONDS = 5.0, 10.0
_PORTS = {"smtp": 25, "smtps": 465}
_HOST = re.compile(r"[0-9A-Za-z._:-]+")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Channel(Protocol):
    """One way to somebody."""

    def send(self, notice: Notice) -> None:
        """Deliver it.

        Raises:
            TemporaryError: it was not taken.
        """


def channels(settings: Settings) -> tuple[Channel, ...]:
    """Those that the settings name.

    Raises:
        ConfigError: an address cannot be read or sent to.
    """
    found: list[Channel] = []
    if url := settings.alert_webhook.get_secret_value():
        parts = _split("ASTRA_ALERT_WEBHOOK", url, ("https", "http"))
        found.append(Webhook(url, _place(parts)))
    if settings.alerted:
        server = _split("ASTRA_SMTP_URL", settings.smtp_url.get_secret_value(), tuple(_PORTS))
        _require_plain(server)
        found.append(Mail(server, settings.alerted))
    return tuple(found)


@dataclass(frozen=True)
class Webhook:
    """POSTs `{"text": ...}`, as Slack's incoming webhooks take it."""

    url: str
    host: str

    def send(self, notice: Notice) -> None:
        """See `Channel`."""
        try:
            # The body is of no interest, and may have no end.
            with requests.post(
                self.url,
                json={"text": notice.slack},
                timeout=WEBHOOK_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except (requests.RequestException, ValueError) as error:
            raise _untaken(f"the webhook at {self.host}", type(error).__name__) from None
        if not 200 <= status < 300:
            raise _untaken(f"the webhook at {self.host}", f"status {status}")


class Mail:
    """A plain e-mail, encrypted where the server can; a password never goes in the clear."""

    def __init__(self, server: SplitResult, to: Sequence[str]) -> None:
        self._to = list(to)
        self._host = server.hostname or ""
        self._is_tls = server.scheme == "smtps"
        self._port = server.port or _PORTS[server.scheme]
        self._user = unquote(server.username or "")
        self._password = unquote(server.password or "")

    def send(self, notice: Notice) -> None:
        """See `Channel`."""
        try:
            message = self._message(notice)
            with self._connected() as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise _untaken(f"the mail server {self._host}", type(error).__name__) from None

    def _message(self, notice: Notice) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = notice.subject
        message["From"] = self._user if "@" in self._user else self._to[0]
        message["To"] = ", ".join(self._to)
        message.set_content("\n\n".join(notice.lines))
        return message

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._is_tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=MAIL_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=MAIL_SECONDS)
        try:
            self._log_in(server, context)
        except BaseException:
            server.close()
            raise
        return server

    def _log_in(self, server: smtplib.SMTP, context: ssl.SSLContext) -> None:
        server.ehlo()
        is_secret = self._is_tls or self._host in _LOOPBACK
        if not self._is_tls and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            is_secret = True
        if not self._password:
            return
        if not is_secret:
            raise smtplib.SMTPNotSupportedError("the server offers no encryption")
        server.login(self._user, self._password)


def _split(name: str, url: str, schemes: tuple[str, ...]) -> SplitResult:
    """The parts of an address; an error does not repeat it."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()  # as who connects will
        is_known = parts.scheme in schemes and bool(_HOST.fullmatch(host)) and parts.port != 0
    except ValueError:
        is_known = False
    if not is_known:
        raise ConfigError(
            f"{name} must be an address that begins with {' or '.join(f'{s}://' for s in schemes)}"
            " and names a host, found something else"
        )
    return parts


def _place(parts: SplitResult) -> str:
    """Host and port: user and password stay out."""
    return f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"


def _require_plain(server: SplitResult) -> None:
    """Raises ConfigError for a log-in that Python's SMTP client cannot send."""
    for text in (unquote(server.username or ""), unquote(server.password or "")):
        if not (text.isascii() and text.isprintable()):
            raise ConfigError(
                "ASTRA_SMTP_URL must give a user and a password of printable ASCII characters, "
                "found others: have the mail server give you such"
            )


def _untaken(place: str, why: str) -> TemporaryError:
    return TemporaryError(f"{place} must take the notice, and did not ({why}): it is tried again")
