"""Who may see the page: a password, a provider's login, and neither where others can reach it."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import streamlit
from browser import CHROMIUM, chromium, free_port, open_first, served
from flask import Flask, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import Page, expect, sync_playwright
from pydantic import ValidationError
from seeded_books import seed_store
from shown_page import Runner, said
from werkzeug.serving import make_server

from astra.settings import Settings
from astra.store import open_store
from frontend import access
from frontend.access import MOST_ATTEMPTS, WAIT_SECONDS, Attempts, is_known, is_public, refusal
from frontend.words import JOINER


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    address = f"sqlite:///{tmp_path}/astra.db"
    store = open_store(address)
    seed_store(store, days=1)
    store.close()
    monkeypatch.setattr(access, "ATTEMPTS", Attempts())
    return address


@contextmanager
def bound_to(address: str | None) -> Iterator[None]:
    """The server's address as streamlit was told."""
    from streamlit import config

    before = config.get_option("server.address")
    config.set_option("server.address", address)
    try:
        yield
    finally:
        config.set_option("server.address", before)


def settings(**named: str) -> Settings:
    return Settings(_env_file=None, **named)  # type: ignore[arg-type, call-arg]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_is_not_public_and_needs_no_login(address: str) -> None:
    assert not is_public(address)
    assert refusal(settings(), address) == ""


@pytest.mark.parametrize(
    "address", [None, "", "0.0.0.0", "::", "192.168.1.7", "desk.example.org", "unix:///x"]
)
def test_any_other_address_and_none_is_public_and_needs_a_login(address: str | None) -> None:
    assert is_public(address)
    assert "set ASTRA_PAGE_PASSWORD" in refusal(settings(), address)
    assert refusal(settings(page_password="a"), address) == ""
    assert refusal(settings(page_users="a@b.org"), address) == ""


def test_two_ways_to_log_in_are_refused_everywhere() -> None:
    both = settings(page_password="a", page_users="a@b.org")
    assert "found two" in refusal(both, "127.0.0.1")


def test_after_five_wrong_passwords_the_right_one_waits_a_minute_too() -> None:
    attempts = Attempts()
    assert not any(attempts.check("guess", "open", float(i)) for i in range(MOST_ATTEMPTS))
    last = MOST_ATTEMPTS - 1
    assert not attempts.check("open", "open", last + WAIT_SECONDS - 1)
    assert attempts.check("open", "open", last + WAIT_SECONDS)


def test_a_right_password_between_wrong_ones_begins_the_count_anew() -> None:
    attempts = Attempts()
    for _ in range(3):
        assert not any(attempts.check("guess", "open", 0.0) for _ in range(MOST_ATTEMPTS - 1))
        assert attempts.check("open", "open", 0.0)


VERIFIED = {"is_logged_in": True, "email": "Ada@Example.org", "email_verified": True}


@pytest.mark.parametrize(
    ("claims", "known"),
    [
        (VERIFIED, True),
        ({**VERIFIED, "email": "eve@example.org"}, False),
        ({**VERIFIED, "email": "mi\u212ae@example.org"}, False),  # a Kelvin sign
        ({**VERIFIED, "email_verified": False}, False),
        ({**VERIFIED, "email_verified": "true"}, False),
        ({**VERIFIED, "is_logged_in": False}, False),
        ({"is_logged_in": True, "email": "ada@example.org"}, False),
        ({"is_logged_in": True, "email_verified": True}, False),
        ({}, False),
    ],
)
def test_only_a_verified_address_of_the_settings_is_known(
    claims: dict[str, object], known: bool
) -> None:
    users = settings(page_users="ADA@example.org|mike@example.org").page_logins
    assert is_known(claims, users) is known


@pytest.mark.parametrize("users", ["ada@fa\u00df.de", "bob@example.org|ada", "ada @example.org"])
def test_who_may_log_in_is_named_by_plain_addresses(users: str) -> None:
    with pytest.raises(ValidationError, match="e-mail addresses in plain letters are required"):
        settings(page_users=users)


def test_the_page_asks_for_its_password_and_shows_nothing_before(
    page: Runner, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_PAGE_PASSWORD", "pässword")
    app = page(url)
    assert not app.metric and not app.header
    app.text_input(key="login_password").input("guess")
    app.button[0].click().run()
    assert "This is not the password." in said(app)
    assert not app.metric
    app.text_input(key="login_password").input("pässword")
    app.button[0].click().run()
    assert "Account value" in [m.label for m in app.metric]
    assert app.run().metric  # remembered
    monkeypatch.setenv("ASTRA_PAGE_PASSWORD", "another")
    assert not app.run().metric


def test_whoever_has_logged_in_can_log_out_and_leaves_nothing(
    page: Runner, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [b for b in page(url).sidebar.button if b.key == "log_out"]
    monkeypatch.setenv("ASTRA_PAGE_PASSWORD", "open")
    app = page(url, "System")
    assert not app.sidebar.button
    app.text_input(key="login_password").input("open")
    app.button[0].click().run()
    app.button(key="switch_stop").click().run()
    app.sidebar.button(key="log_out").click().run()
    assert app.text_input(key="login_password").value == ""
    assert not app.metric and "switch_step" not in app.session_state


def test_a_wrong_setting_is_told_to_the_log_and_not_to_whoever_has_not_logged_in(
    page: Runner, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ASTRA_PAGE_PASSWORD", "open")
    monkeypatch.setenv("ASTRA_BUNDLES", "s3://inner-bucket/models")
    app = page(url)
    assert "The settings cannot be read: the page's log says which." in said(app)
    assert "inner-bucket" not in said(app) and not app.metric
    assert "s3://inner-bucket/models" in caplog.text


def test_guessing_is_slowed_down_for_all_sessions(
    page: Runner, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_PAGE_PASSWORD", "open")
    for _ in range(MOST_ATTEMPTS):
        app = page(url)
        app.text_input(key="login_password").input("guess")
        app.button[0].click().run()
    assert "Too many wrong passwords: wait " in said(app)
    app = page(url)
    app.text_input(key="login_password").input("open")
    app.button[0].click().run()
    assert not app.metric and "Too many wrong passwords" in said(app)


def test_clearing_the_caches_does_not_begin_the_count_of_wrong_passwords_anew(
    page: Runner, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_PAGE_PASSWORD", "open")
    app = page(url)
    for _ in range(MOST_ATTEMPTS):
        streamlit.cache_resource.clear()
        app.text_input(key="login_password").input("guess")
        app.button[0].click().run()
    assert "Too many wrong passwords: wait " in said(app)


@pytest.mark.parametrize("address", [None, "0.0.0.0"])
def test_a_page_that_others_can_reach_says_one_sentence_and_nothing_else_without_a_login(
    page: Runner, url: str, address: str | None
) -> None:
    app = page(url)
    with bound_to(address):
        app.run()
    assert [e.value.replace("\\", "") for e in app.error] == [refusal(settings(), address)]
    assert not (app.metric or app.header or app.title or app.caption or app.dataframe)


def test_logins_without_a_provider_are_one_sentence(
    page: Runner, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRA_PAGE_USERS", "ada@example.org")
    app = page(url)
    assert "A provider is required for ASTRA_PAGE_USERS" in said(app)
    assert not app.metric


@dataclass
class Provider:
    """An OpenID Connect provider on loopback that logs `address` in without asking."""

    url: str
    address: str = "eve@example.org"


@pytest.fixture
def provider() -> Iterator[Provider]:
    key, codes = RSAKey.generate_key(2048, parameters={"kid": "k"}), dict[str, dict[str, str]]()
    app = Flask("provider")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    found = Provider(f"http://127.0.0.1:{server.port}")

    @app.get("/.well-known/openid-configuration")
    def _discovery() -> object:
        return jsonify(
            issuer=found.url,
            authorization_endpoint=f"{found.url}/authorize",
            token_endpoint=f"{found.url}/token",
            jwks_uri=f"{found.url}/jwks",
            response_types_supported=["code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["RS256"],
        )

    @app.get("/jwks")
    def _jwks() -> object:
        return jsonify(keys=[key.as_dict(private=False)])

    @app.get("/authorize")
    def _authorize() -> object:
        code = str(len(codes))
        codes[code] = {"nonce": request.args["nonce"], "address": found.address}
        back = urlencode({"code": code, "state": request.args["state"]})
        return redirect(f"{request.args['redirect_uri']}?{back}")

    @app.post("/token")
    def _token() -> object:
        sent = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        assert sent == "page:hush"
        asked, now = codes.pop(request.form["code"]), int(time.time())
        claims = {"iss": found.url, "aud": "page", "sub": "1", "iat": now, "exp": now + 600,
                  "nonce": asked["nonce"], "email": asked["address"],
                  "email_verified": True}  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "k"}, claims, key)
        return jsonify(access_token="a", token_type="Bearer", id_token=token, expires_in=600)

    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def guarded(url: str, provider: Provider, folder: Path) -> Iterator[str]:
    """The page for ada@example.org alone; its address."""
    port = free_port()
    secrets = folder / "secrets.toml"
    secrets.write_text(
        f"""[auth]
redirect_uri = "http://127.0.0.1:{port}/oauth2callback"
cookie_secret = "{"c" * 32}"
client_id = "page"
client_secret = "hush"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"
"""
    )
    options = ("--secrets.files", str(secrets))
    users = {"ASTRA_PAGE_USERS": "ada@example.org"}
    with served(url, folder / "log", port=port, options=options, settings=users) as page:
        yield page.url


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt install chromium")
def test_a_login_at_a_provider_lets_in_whom_the_settings_name_and_nobody_else(
    url: str, provider: Provider, tmp_path: Path
) -> None:
    with guarded(url, provider, tmp_path) as address, sync_playwright() as playwright:
        browser = chromium(playwright)
        stranger = browser.new_context().new_page()
        _log_in(stranger, address)
        refused = f"found eve@{JOINER}example.org: log in with another"
        expect(stranger.get_by_text(refused)).to_be_visible(timeout=60_000)
        assert stranger.get_by_text("Account value").count() == 0
        provider.address = "ada@example.org"
        friend = browser.new_context().new_page()
        _log_in(friend, address)
        expect(friend.get_by_text("Account value", exact=True)).to_be_visible(timeout=60_000)
        browser.close()


def _log_in(tab: Page, address: str) -> None:
    open_first(tab, address)
    tab.get_by_role("button", name="Log in").click(timeout=60_000)
