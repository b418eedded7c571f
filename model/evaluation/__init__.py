"""What a bundle's forecasts were worth on bars it has not seen, beside simple forecasts."""

from model.evaluation.report import Evaluation, evaluate
from model.evaluation.walk import BASELINES, decision_times

__all__ = ["BASELINES", "Evaluation", "decision_times", "evaluate"]
