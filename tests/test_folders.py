"""Folders that go with their owner, whatever way it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from astra.errors import ConfigError
from etl_service.sources.folders import OwnFolder

SCRIPT = """
import sys, time
from pathlib import Path
from etl_service.sources.folders import OwnFolder

folder = OwnFolder(Path(sys.argv[1]))
print(folder.made(), flush=True)
time.sleep(float(sys.argv[2]))
"""


def owner(parent: Path, seconds: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(parent), seconds],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_each_owner_has_one_folder_until_it_removes_it(tmp_path: Path) -> None:
    one, other = OwnFolder(tmp_path), OwnFolder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    first, second = one.made(), other.made()
    assert one.made() == first != second
    (first / "file").write_text("something")
    one.remove()
    assert list(tmp_path.iterdir()) == [second]
    one.remove()
    assert one.made().is_dir()
    del one, other
    assert list(tmp_path.iterdir()) == []


def test_a_folder_goes_at_exit(tmp_path: Path) -> None:
    with owner(tmp_path, "0") as process:
        made = Path(process.communicate()[0].strip())
    assert made.parent == tmp_path
    assert not made.exists()


def test_what_a_killed_owner_left_goes_but_not_what_a_living_one_has(tmp_path: Path) -> None:
    with owner(tmp_path, "60") as killed, owner(tmp_path, "60") as living:
        left, kept = (Path(p.stdout.readline().strip()) for p in (killed, living) if p.stdout)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert {left, kept} == set(tmp_path.iterdir())
        own = OwnFolder(tmp_path)
        assert {own.made(), kept} == set(tmp_path.iterdir())
        living.kill()


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")
    with pytest.raises(ConfigError, match="ASTRA_VAR"):
        OwnFolder(tmp_path / "var" / "yfinance")
