"""Shared fixtures: the folder of recorded bars, and honest counting of what was skipped."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# The fixtures `postgres`, `store_url` and `store`.
pytest_plugins = ("tests.postgres", "tests.stores")

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
def _settings_of_this_test_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ASTRA_ variable of the person running the tests reaches them."""
    for name in [n for n in os.environ if n.startswith("ASTRA_") and n != "ASTRA_TEST_DATA"]:
        monkeypatch.delenv(name)
