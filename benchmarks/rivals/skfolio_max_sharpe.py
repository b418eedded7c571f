"""skfolio's MeanRisk on the mean and covariance of a .npz file, in an environment of its own.

    python skfolio_max_sharpe.py MARKET.npz ROUNDS

MARKET has `mean` (n,) and `covariance` (n, n). Prints one JSON line: the median CPU seconds of a
fit, the weights of the highest ratio of mean to deviation, the library's version.
"""

import json
import statistics
import sys
import time
import warnings
from importlib import metadata
from typing import Any

import numpy as np
from skfolio import RiskMeasure  # type: ignore[import-not-found]  # see above
from skfolio.optimization import (  # type: ignore[import-not-found]
    MeanRisk,
    ObjectiveFunction,
)
from skfolio.prior import BasePrior, ReturnDistribution  # type: ignore[import-not-found]


class Given(BasePrior):  # type: ignore[misc]
    """Moments that are known."""

    def __init__(self, mean: Any = None, covariance: Any = None) -> None:
        self.mean, self.covariance = mean, covariance

    def fit(self, X: Any, y: Any = None, **_: Any) -> "Given":
        self.return_distribution_ = ReturnDistribution(
            mu=self.mean, covariance=self.covariance, returns=np.asarray(X)
        )
        return self


def main(path: str, rounds: int) -> dict[str, Any]:
    market = np.load(path)
    mean, covariance = market["mean"], market["covariance"]
    returns = np.tile(mean, (2, 1)) + np.array([[1e-3], [-1e-3]])  # only its shape matters
    seconds = []
    for _ in range(rounds):
        model = MeanRisk(
            objective_function=ObjectiveFunction.MAXIMIZE_RATIO,
            risk_measure=RiskMeasure.VARIANCE,
            prior_estimator=Given(mean, covariance),
        )
        began = time.process_time()
        model.fit(returns)
        seconds.append(time.process_time() - began)
    return {
        "seconds": statistics.median(seconds),
        "weights": model.weights_.tolist(),
        "version": metadata.version("skfolio"),
    }


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
