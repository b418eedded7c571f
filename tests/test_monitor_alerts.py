"""Alerts reach a webhook and a mailbox, once; what does not arrive is tried again."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import json
import logging
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from astra.alerts import Notice
from astra.alpaca import Alpaca
from astra.errors import ConfigError, TemporaryError
from astra.records import TradingState
from astra.settings import Settings
from astra.store import Store
from monitor_service.main import create_app
from monitor_service.market_time import MarketTime
from monitor_service.notices import channels
from monitor_service.watch import Watch
from sandbox.main import Sandbox
from tests.test_monitor import TEN, sandbox, settings, store

__all__ = ["sandbox", "settings", "store"]
HOUR = dt.timedelta(hours=1)
SECRET = "T0P-SECRET"


@dataclass
class Receiver:
    """A webhook: the texts it took, and what it answers; `trickles`: with a body without end."""

    url: str = ""
    status: int = 200
    trickles: bool = False
    texts: list[str] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.status == 200:
                assert list(body) == ["text"]
                found.texts.append(body["text"])
            self.send_response(found.status)
            if found.status == 302:
                self.send_header("Location", "https://elsewhere.invalid/")
            self.send_header("Content-Length", "100000" if found.trickles else "0")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(80 * found.trickles):
                    self.wfile.write(b"x")
                    time.sleep(0.1)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        found.url = f"http://127.0.0.1:{port}/services/{SECRET}"
        yield found


@dataclass
class Mailbox:
    """An SMTP server: the mails it took."""

    port: int = 0
    refuses: bool = False
    logins: list[str] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    found = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "EHLO":
                    self.say("250-here\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    found.logins.append(line)
                    self.say("235 welcome")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                    found.mails.append("\n".join(lines))
                    self.say("250 taken")
                elif verb == "RCPT" and found.refuses:
                    self.say("550 nobody here")
                else:
                    self.say("221 bye" if verb == "QUIT" else "250 fine")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with running(Server(("127.0.0.1", 0), Handler)) as port:
        found.port = port
        yield found


class running:  # noqa: N801 - reads as a verb
    """Serves in a thread; its port."""

    def __init__(self, server: socketserver.TCPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,))

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def client_of(settings: Settings, **changes: Any) -> FlaskClient:
    return create_app(
        Settings(_env_file=None, **{**settings.model_dump(), **changes})
    ).test_client()


def halt(client: FlaskClient) -> None:
    assert client.post("/halt", json={"reason": "a drill"}).status_code == 200


def test_a_halt_is_told_once_and_that_it_is_over(
    settings: Settings, sandbox: Sandbox, hook: Receiver, store: Store
) -> None:
    client = client_of(settings, alert_webhook=hook.url)
    client.post("/update_account")
    assert hook.texts == []
    halt(client)
    found = client.post("/alerts").get_json()
    assert [(a["key"], a["severity"]) for a in found["alerts"]] == [
        ("trading-stopped:HALTED", "critical")
    ]
    assert found["told"] == 1
    (text,) = hook.texts
    assert text.startswith("ASTrA: 1 critical (paper account PA")
    assert "critical: trading is HALTED since Mon 2026-01-12 10:00 New York" in text
    assert "(monitor: a drill)" in text
    for _ in range(3):
        assert client.post("/alerts").get_json()["told"] == 0
    client.post("/update_account")
    assert len(hook.texts) == 1

    code = client.post("/lift").get_json()["code"]
    client.post("/lift", json={"code": code})
    assert client.get("/alerts").get_json()["message"] == "nothing needs anybody"
    assert len(hook.texts) == 2
    assert "over since Mon 2026-01-12 10:00 New York: trading is HALTED" in hook.texts[1]
    (row,) = store.books.read("alerts").to_pylist()
    assert all(row[name] is not None for name in ("told_at", "closed_at", "over_told_at"))


def test_a_stricter_state_is_told_at_once(
    settings: Settings, sandbox: Sandbox, hook: Receiver
) -> None:
    client = client_of(settings, alert_webhook=hook.url)
    client.post("/update_account")
    client.post("/halt", json={"state": "REDUCING", "reason": "loss of the day"})
    client.post("/alerts")
    halt(client)
    assert client.post("/alerts").get_json()["told"] == 1
    assert len(hook.texts) == 2
    assert "trading is HALTED" in hook.texts[1]
    assert "over" not in hook.texts[1].replace("once you know why", "")


def test_it_is_told_again_after_a_day(settings: Settings, sandbox: Sandbox, hook: Receiver) -> None:
    client = client_of(settings, alert_webhook=hook.url)
    client.post("/update_account")
    halt(client)
    for hours, told in ((0, 1), (23, 1), (24, 2), (47, 2)):
        sandbox.market.clock.step_to(TEN + hours * HOUR)
        client.post("/alerts")
        assert sum("trading is HALTED" in text for text in hook.texts) == told
    last = next(text for text in reversed(hook.texts) if "HALTED" in text)
    assert "(still, since Mon 2026-01-12 10:00 New York)" in last


def test_each_job_is_followed_by_a_look(
    settings: Settings, sandbox: Sandbox, hook: Receiver
) -> None:
    client = client_of(settings, alert_webhook=hook.url)
    client.post("/update_account")
    halt(client)
    assert hook.texts == []  # who halts waits for nobody
    assert client.post("/resume").status_code == 200
    assert len(hook.texts) == 1


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_notice_that_is_not_taken_is_tried_again_and_the_job_succeeds(
    settings: Settings, sandbox: Sandbox, hook: Receiver, status: int
) -> None:
    client = client_of(settings, alert_webhook=hook.url)
    client.post("/update_account")
    halt(client)
    hook.status = status
    assert client.post("/update_account").status_code == 200
    assert client.post("/alerts").get_json()["told"] == 0
    hook.status = 200
    assert client.post("/alerts").get_json()["told"] == 1
    assert len(hook.texts) == 1


def test_a_mail_says_the_same_to_all_who_are_named(
    settings: Settings, sandbox: Sandbox, mailbox: Mailbox
) -> None:
    client = client_of(
        settings,
        alert_email="me@example.org|you@example.org",
        smtp_url=f"smtp://bot%40example.org:p%3Aw@127.0.0.1:{mailbox.port}",
    )
    client.post("/update_account")
    halt(client)
    client.post("/alerts")
    (mail,) = mailbox.mails
    assert "Subject: ASTrA: 1 critical (paper account PA" in mail
    assert "From: bot@example.org" in mail
    assert "To: me@example.org, you@example.org" in mail
    assert "trading is HALTED" in mail
    assert len(mailbox.logins) == 1
    client.post("/alerts")
    assert len(mailbox.mails) == 1


def test_one_channel_that_fails_gets_later_what_the_other_has_long_had(
    settings: Settings, sandbox: Sandbox, hook: Receiver, mailbox: Mailbox
) -> None:
    client = client_of(
        settings,
        alert_webhook=hook.url,
        alert_email="me@example.org",
        smtp_url=f"smtp://127.0.0.1:{mailbox.port}",
    )
    client.post("/update_account")
    mailbox.refuses = True
    halt(client)
    client.post("/alerts")
    client.post("/alerts")
    assert (len(hook.texts), len(mailbox.mails)) == (1, 0)
    mailbox.refuses = False
    client.post("/alerts")
    assert (len(hook.texts), len(mailbox.mails)) == (1, 1)
    assert "trading is HALTED" in mailbox.mails[0]
    client.post("/alerts")
    assert (len(hook.texts), len(mailbox.mails)) == (1, 1)


class Broken:
    """A channel with a bug."""

    def send(self, notice: Notice) -> None:
        raise RuntimeError(f"{SECRET} {notice.subject}")


def test_a_channel_with_a_bug_does_not_have_the_other_told_again(
    settings: Settings, hook: Receiver, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client_of(settings).post("/update_account")
    account = next(iter(store.books.accounts()))
    store.states.set(account, TradingState.HALTED, "a drill", "astra halt", TEN)
    working = channels(settings.model_copy(update={"alert_webhook": SecretStr(hook.url)}))
    market_time = MarketTime(Alpaca.from_settings(settings), store)
    watch = Watch(store, settings, market_time, [*working, Broken()])
    assert [watch.look().told for _ in range(3)] == [1, 0, 0]
    assert len(hook.texts) == 1
    assert "unexpected=RuntimeError" in caplog.text
    assert SECRET not in "".join(record.getMessage() for record in caplog.records)


def test_a_webhook_that_never_ends_its_answer_holds_nobody_up(
    settings: Settings, hook: Receiver
) -> None:
    hook.trickles = True
    (channel,) = channels(settings.model_copy(update={"alert_webhook": SecretStr(hook.url)}))
    started = time.monotonic()
    channel.send(Notice("s", ("l",)))
    assert time.monotonic() - started < 3
    assert hook.texts == ["s\nl"]


def test_several_alerts_are_one_message(
    settings: Settings, sandbox: Sandbox, hook: Receiver
) -> None:
    client = client_of(settings, alert_webhook=hook.url)
    client.post("/update_account")
    client.post("/alerts")
    sandbox.market.clock.step_to(TEN + HOUR)
    client.post("/halt")
    client.post("/alerts")
    (text,) = hook.texts
    assert "trading is HALTED" in text
    assert "the job update-account, due at Mon 2026-01-12 10:41 New York, has left no trace" in text
    assert "1 critical" in text.splitlines()[0]
    client.post("/update_account")
    assert "over since Mon 2026-01-12 11:00 New York: the job update-account" in hook.texts[-1]


def test_alerts_are_looked_at_while_the_broker_is_away(
    settings: Settings, sandbox: Sandbox, hook: Receiver, store: Store
) -> None:
    client = client_of(settings, alert_webhook=hook.url)
    client.post("/update_account")
    account = next(iter(store.books.accounts()))
    sandbox.faults.arm(
        {"vendor": "alpaca", "method": "*", "path": "/", "status": 503, "times": 1000}
    )
    store.states.set(account, TradingState.HALTED, "by somebody", "astra halt", TEN)
    assert client.post("/alerts").status_code == 200
    assert "by somebody" in hook.texts[0]


def refuse_all(sandbox: Sandbox) -> None:
    sandbox.faults.arm(
        {"vendor": "alpaca", "method": "*", "path": "/v2", "status": 401, "times": 1000}
    )


def test_a_monitor_that_starts_while_the_broker_refuses_sees_what_is_missed(
    settings: Settings, sandbox: Sandbox, hook: Receiver, store: Store
) -> None:
    before = client_of(settings)
    before.post("/update_account")
    before.post("/alerts")  # since then somebody keeps the schedule
    store.claim_market("real")
    refuse_all(sandbox)
    client = client_of(settings, alert_webhook=hook.url)
    assert client.post("/update_account").status_code == 500
    found = client.post("/alerts").get_json()
    assert dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(found["at"]) < HOUR
    assert "missed-run:update-account" in [alert["key"] for alert in found["alerts"]]
    assert "the job update-account" in hook.texts[0]


def test_without_the_broker_the_time_of_the_store_goes_on(
    settings: Settings, sandbox: Sandbox, store: Store
) -> None:
    client_of(settings).post("/update_account")
    refuse_all(sandbox)
    market_time = MarketTime(Alpaca.from_settings(settings), store)
    first = market_time.ask()
    time.sleep(0.05)
    assert TEN <= first < market_time.now() < first + HOUR
    store.claim_market("simulated:1")
    store.record_now(TEN + 2 * HOUR)
    assert market_time.now() >= TEN + 2 * HOUR


def test_no_secret_is_logged_or_told(
    settings: Settings, sandbox: Sandbox, hook: Receiver, mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    dead = f"http://127.0.0.1:9/services/{SECRET}"
    client = client_of(
        settings,
        alert_webhook=dead,
        alert_email="me@example.org",
        smtp_url=f"smtps://bot:{SECRET}@127.0.0.1:{mailbox.port}",
    )
    with caplog.at_level(logging.DEBUG):
        client.post("/update_account")
        halt(client)
        answer = client.post("/alerts")
    assert "notice=undelivered" in caplog.text
    assert "the webhook at 127.0.0.1:9 must take the notice" in caplog.text
    ours = [r for r in caplog.records if r.name.startswith("astra")]
    assert not any(SECRET in record.getMessage() for record in ours)
    assert SECRET not in answer.text
    assert SECRET not in str(settings)


def test_an_error_names_the_webhooks_host_without_its_password() -> None:
    url = f"http://bot:{SECRET}@127.0.0.1:9/services/{SECRET}"
    (channel,) = channels(Settings(_env_file=None, alert_webhook=url))
    with pytest.raises(TemporaryError, match=r"the webhook at 127\.0\.0\.1:9 must") as caught:
        channel.send(Notice("s", ("l",)))
    assert SECRET not in str(caught.value)


def test_a_password_never_goes_in_the_clear_but_on_this_machine() -> None:
    """A name that is not the loopback's, though it leads there, is not trusted with it."""
    found = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                found.logins.append(line.decode())
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with running(Server(("127.0.0.1", 0), Handler)) as port:
        (mail,) = channels(
            Settings(
                _env_file=None,
                alert_email="me@example.org",
                smtp_url=f"smtp://bot:{SECRET}@127.0.0.2:{port}",
            )
        )
        with pytest.raises(TemporaryError):
            mail.send(Notice("s", ("l",)))
    assert not any("AUTH" in line for line in found.logins)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"alert_webhook": f"ftp://host/{SECRET}"}, "ASTRA_ALERT_WEBHOOK must be an address"),
        ({"alert_webhook": f"https:///{SECRET}"}, "names a host"),
        ({"alert_webhook": f"https://a..b/{SECRET}"}, "names a host"),
        ({"alert_webhook": f"https://a b.org/{SECRET}"}, "names a host"),
        ({"alert_webhook": f"https://{'a' * 70}.org/{SECRET}"}, "names a host"),
        ({"alert_email": "me@x.org", "smtp_url": f"imap://{SECRET}"}, "smtp:// or smtps://"),
        ({"alert_email": "me@x.org", "smtp_url": f"smtp://me:{SECRET}@a..b"}, "names a host"),
        ({"alert_email": "me@x.org", "smtp_url": f"smtp://me:{SECRET}%C3%A4@x.org"}, "ASCII"),
        ({"alert_email": "me@x.org", "smtp_url": f"smtp://m%0Ae@x.org:{SECRET}@x.org"}, "ASCII"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_being_repeated(
    changes: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        channels(Settings(_env_file=None, **changes))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"alert_email": "me@x.org"}, {"alert_email": "nobody", "smtp_url": "smtp://h"}]
)
def test_mail_needs_a_server_and_somebody(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"ASTRA_SMTP_URL|e-mail addresses are required"):
        Settings(_env_file=None, **changes)
