"""The estimators of a covariance, by the name that the setting `risk_model` gives them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from model.forecast.target import Normalised
from model.panel import Panel
from model.portfolio import covariance
from model.portfolio.covariance import Covariance

Estimator = Callable[[Panel, Normalised], Covariance]


def ledoit_wolf(panel: Panel, _: Normalised) -> Covariance:
    """See `covariance.ledoit_wolf`."""
    return covariance.ledoit_wolf(panel)


ESTIMATORS: Mapping[str, Estimator] = MappingProxyType({"ledoit_wolf": ledoit_wolf})
