"""Settings: typed, complete in their complaints, paper by default."""

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
