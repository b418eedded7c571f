"""Settings: typed, complete in their complaints, paper by default."""

from pathlib import Path

import pytest

from astra import settings
from astra.errors import ConfigError


@pytest.fixture(autouse=True)
def _empty(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)


def test_paper_is_the_default() -> None:
    assert settings.load().trading_url == settings.PAPER_URL


def test_real_money_needs_two_deliberate_steps(monkeypatch) -> None:
    monkeypatch.setenv("ASTRA_ALPACA_PAPER", "false")
    with pytest.raises(ConfigError, match="ASTRA_LIVE_TRADING"):
        settings.load()
    monkeypatch.setenv("ASTRA_LIVE_TRADING", "123456")
    assert settings.load().trading_url == settings.LIVE_URL


def test_all_faults_are_reported_at_once(monkeypatch) -> None:
    monkeypatch.setenv("ASTRA_K", "0")
    monkeypatch.setenv("ASTRA_MAX_WEIGHT", "much")
    monkeypatch.setenv("ASTRA_POLICY", "astrology")
    with pytest.raises(ConfigError) as error:
        settings.load()
    for name in ("ASTRA_K", "ASTRA_MAX_WEIGHT", "ASTRA_POLICY", "min_variance"):
        assert name in str(error.value)


def test_missing_keys_are_named_together() -> None:
    with pytest.raises(ConfigError, match="ASTRA_ALPACA_KEY, ASTRA_ALPACA_SECRET"):
        settings.load().require("alpaca_key", "alpaca_secret")


def test_a_file_named_dot_env_is_read(tmp_path) -> None:
    (tmp_path / ".env").write_text("ASTRA_K=7\nASTRA_ALPACA_SECRET=hush\n")
    found = settings.load()
    assert found.k == 7
    assert "hush" not in repr(found)


def test_the_example_file_names_every_setting_and_changes_none(monkeypatch, tmp_path) -> None:
    example = settings.HOUSE / ".env.example"
    names = {
        line.removeprefix("# ").split("=")[0]
        for line in example.read_text().splitlines()
        if line.startswith("# ASTRA_")
    }
    assert names == {f"ASTRA_{name.upper()}" for name in settings.Settings.model_fields}


def test_bars_that_a_decision_reads_cannot_be_forgotten_by_a_setting() -> None:
    with pytest.raises(ConfigError, match="ASTRA_KEEP_DAYS: bars of at least 61 days"):
        settings.load(_env_file=None, keep_days=30)
    assert settings.load(_env_file=None, keep_days=61).keep_days == 61


def test_models_are_in_a_folder_or_in_a_bucket(monkeypatch) -> None:
    monkeypatch.setenv("ASTRA_BUNDLES", "models/mine")
    assert settings.load().bundles == Path("models/mine")
    monkeypatch.setenv("ASTRA_BUNDLES", "gs://our-bucket/team/models")
    assert settings.load().bundles == "gs://our-bucket/team/models"
    for wrong in ("gs://", "gs:///models", "s3://bucket/models", "https://bucket/models"):
        monkeypatch.setenv("ASTRA_BUNDLES", wrong)
        with pytest.raises(ConfigError, match=r"ASTRA_BUNDLES.*a folder or in gs://BUCKET/PREFIX"):
            settings.load()


def test_the_key_of_the_models_is_never_shown(monkeypatch) -> None:
    monkeypatch.setenv("ASTRA_BUNDLE_KEY", "hush")
    assert "hush" not in repr(settings.load())


def test_a_models_age_is_limited_unless_it_is_said_otherwise(monkeypatch) -> None:
    assert settings.load().model_max_age_days == 365
    monkeypatch.setenv("ASTRA_MODEL_MAX_AGE_DAYS", "-1")
    with pytest.raises(ConfigError, match="ASTRA_MODEL_MAX_AGE_DAYS"):
        settings.load()


@pytest.mark.parametrize("limit", ["max_position_weight", "max_order_weight"])
def test_no_name_may_weigh_more_than_the_risk_gate_lets_be_bought(limit: str) -> None:
    limits = {"max_position_weight": 0.4, "max_order_weight": 0.4}
    assert settings.load(_env_file=None, max_weight=0.4, **limits).max_weight == 0.4
    with pytest.raises(ConfigError, match=r"ASTRA_MAX_WEIGHT=0\.4 must be at most .* raise them$"):
        settings.load(_env_file=None, max_weight=0.4, **{**limits, limit: 0.3})
