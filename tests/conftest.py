"""Shared fixtures: recorded bars with honest counting of what was skipped; a desk at a broker."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:  # two seconds of imports that most files don't need
    import desk as trading

    from astra.execution.desk import Desk

# The fixtures `postgres`, `store_url`, `store` and `page`.
pytest_plugins = ("tests.postgres", "tests.stores", "tests.shown_page")

# A deadline measures the machine's load, not the code; the same examples everywhere.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of recorded bars named by ASTRA_TEST_DATA; tests that need it are skipped else."""
    folder = os.environ.get("ASTRA_TEST_DATA", "")
    if not folder:
        pytest.skip("ASTRA_TEST_DATA is unset: no recorded bars")
    return Path(folder)


@pytest.fixture(autouse=True)
def _logs_of_ours() -> None:
    """functions_framework.create_app (3.10) switches off every logger that there is by then."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("astra") and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(autouse=True)
def _settings_of_this_test_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ASTRA_ variable of the person running the tests reaches them."""
    for name in [n for n in os.environ if n.startswith("ASTRA_") and n != "ASTRA_TEST_DATA"]:
        monkeypatch.delenv(name)


@pytest.fixture
def sandbox() -> Iterator[trading.Desk]:
    """A sandbox broker at ten in the morning, with a new account and its adapter."""
    from desk import opened

    with opened() as found:
        yield found


@pytest.fixture
def desk(sandbox: trading.Desk, tmp_path: Path) -> Desk:
    """What executions have at hand, at `sandbox` and with a new store."""
    from execution_desk import opened_desk

    return opened_desk(sandbox, tmp_path)
