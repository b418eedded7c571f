"""Packages that are measured beside ours, each script run by the python of an environment of its
own (`make rivals`)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from astra.errors import AstraError

FOLDER = Path(__file__).parent


def answer_of(python: Path, script: str, *arguments: object, seconds: float) -> dict[str, Any]:
    """What a script of this folder prints last, a JSON object.

    Raises:
        AstraError: it failed; its last line says why.
    """
    done = subprocess.run(
        [str(python), str(FOLDER / script), *map(str, arguments)],
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise AstraError(f"{script} must succeed to be measured, it said: {said[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
