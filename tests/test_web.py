"""What all services share."""

import logging

import pytest
from flask import Flask, jsonify, request

from astra.errors import ConfigError, DataError, InsufficientDataError, TemporaryError
from astra.settings import Settings
from astra.web import MOST_BYTES, create_service


def service(token: str = "") -> Flask:
    app = create_service("test", Settings(token=token, _env_file=None))
    errors = {
        "data": DataError("bad rows"),
        "thin": InsufficientDataError("too few"),
        "later": TemporaryError("vendor down", retry_after=30),
        "config": ConfigError("no key"),
        "bug": KeyError("secret detail"),
    }

    @app.get("/raise/<name>")
    def _raise(name: str) -> str:
        raise errors[name]

    @app.get("/fine")
    def _fine():
        return jsonify(ok=True)

    @app.route("/told", methods=["GET", "POST"])
    def _told():
        return jsonify(bytes=len(request.get_data()))

    return app


@pytest.mark.parametrize(
    ("name", "status"),
    [("data", 400), ("thin", 409), ("later", 503), ("config", 500), ("bug", 500)],
)
def test_each_error_has_its_status_and_a_json_body(name: str, status: int) -> None:
    answer = service().test_client().get(f"/raise/{name}")
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error", "message"}
    assert "secret detail" not in answer.text


def test_a_passing_fault_says_when_to_come_back() -> None:
    assert service().test_client().get("/raise/later").headers["Retry-After"] == "30"


@pytest.mark.parametrize(
    ("header", "status"),
    [(None, 401), ("Bearer wrong", 401), ("Bearer right", 200), ("right", 401), ("Bearer ", 401)],
)
def test_a_configured_token_is_asked_for(header: str | None, status: int) -> None:
    headers = {"Authorization": header} if header else {}
    assert service("right").test_client().get("/fine", headers=headers).status_code == status


def test_health_needs_no_token() -> None:
    answer = service("right").test_client().get("/health")
    assert answer.get_json()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/nowhere", b"", 404, "a route of this service is required, found /nowhere"),
        ("GET", "/fine/", b"", 404, "a route of this service is required, found /fine/"),
        ("DELETE", "/fine", b"", 405, "/fine takes GET, found DELETE"),
        ("PUT", "/told", b"", 405, "/told takes GET or POST, found PUT"),
        ("POST", "/told", b"x" * (MOST_BYTES + 1), 413, "a body of 100,000 bytes at most is "
         "required, found more"),
    ],
)  # fmt: skip
def test_what_no_route_takes_is_answered_in_one_sentence(
    method: str, path: str, body: bytes, status: int, message: str
) -> None:
    answer = service().test_client().open(path, method=method, data=body)
    assert (answer.status_code, answer.get_json()["message"]) == (status, message)


@pytest.mark.parametrize("token", ["", "right"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_no_web_site_has_a_browser_change_anything(headers: dict[str, str], token: str) -> None:
    headers = {**headers, "Authorization": f"Bearer {token}"}
    answer = service(token).test_client().post("/told?x=1", data="x", headers=headers)
    assert answer.status_code == 403
    assert "a program's request is required" in answer.get_json()["message"]


def test_a_page_may_be_reached_by_a_link_and_any_route_by_its_address() -> None:
    app = create_service("test", Settings(_env_file=None), pages={"/page"})
    app.add_url_rule("/page", "page", lambda: "read")
    app.add_url_rule("/route", "route", lambda: "done")
    client, link = app.test_client(), {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/page", headers=link).status_code == 200
    assert client.get("/route", headers=link).status_code == 403
    assert client.get("/route", headers={"Sec-Fetch-Site": "none"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:8080", 200), ("127.0.0.1:8080", 200), ("127.1.2.3", 200),
        ("[::1]:8080", 200), ("evil.example", 403), ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403), ("10.0.0.1", 403), ("[::1", 403), ("", 403),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_token_only_this_machines_own_names_are_answered(
    host: str, status: int, method: str
) -> None:
    answer = service().test_client().open("/told", method=method, headers={"Host": host})
    assert answer.status_code == status
    if status == 403 and host:
        assert "without ASTRA_TOKEN only requests to 127.0.0.1" in answer.get_json()["message"]


def test_with_a_token_any_name_is_answered_and_health_always() -> None:
    public = {"Host": "monitor-abc.a.run.app"}
    bearer = {**public, "Authorization": "Bearer right"}
    assert service("right").test_client().post("/told", headers=bearer).status_code == 200
    assert service("right").test_client().post("/told", headers=public).status_code == 401
    for token in ("", "right"):
        assert service(token).test_client().get("/health", headers=public).status_code == 200


def test_nobody_writes_lines_of_their_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="astra.web"):
        service("right").test_client().get(
            "/x%0Alevel=WARNING alarm=lifted", headers={"X-Request-Id": "1 status=200"}
        )
    (line,) = [record.getMessage() for record in caplog.records]
    assert "request=1%20status%3D200 method=GET path=/x%0Alevel%3DWARNING%20alarm%3Dlifted" in line
    assert "\n" not in line
