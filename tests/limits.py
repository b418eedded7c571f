"""The risk gate's limits as the settings have them by default, but for what a test changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from astra.execution.desk import limits_of
from astra.risk import Limits
from astra.settings import Settings


def limits(**changes: Any) -> Limits:
    return replace(limits_of(Settings.model_construct()), **changes)
