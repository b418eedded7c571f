"""What all services share."""

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
