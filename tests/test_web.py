"""What all services share."""

import pytest
from flask import Flask, jsonify

from astra.errors import ConfigError, DataError, InsufficientDataError, TemporaryError
from astra.settings import Settings
from astra.web import create_service


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


def test_an_unknown_route_answers_json() -> None:
    answer = service().test_client().get("/nowhere")
    assert answer.status_code == 404
    assert "message" in answer.get_json()
