"""The document that explains a decision, as the bucket and `--json` have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.holdings import Settled, named
from model.outlook import Outlook
from model.why import reads, why


def explain(
    outlook: Outlook,
    settled: Settled,
    books: Mapping[str, Settled],
    held: Mapping[str, float],
    hold: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Plain numbers and texts; what cannot be known is None.

    Args:
        books: what each policy does in its own book.
        held: weights held, by ticker.
        hold, exclude: names that the user holds as they are, or never wants.
    """  # fmt: skip
    inputs, made = settled.inputs, settled.decision
    sight, skill, health = outlook.sight, outlook.skill, outlook.health
    target, trade = made.target, made.trade
    return {
        "as_of": sight.as_of.isoformat(),
        "policy": made.policy,
        "model_id": sight.forecast.model_id,
        "skill": {
            "ic": round(skill.ic, 6),
            "t": round(skill.t, 4),
            "days": skill.days,
            "decisions": skill.decisions,
            "on": skill.on,
            "used": round(skill.used, 6),
            "suspect": skill.suspect,
            "reason": skill.reason,
        },
        "health": {
            "psi": _rounded(health.psi),
            "cusum": _rounded(health.cusum),
            "age_days": health.age_days,
            "alarms": list(health.alarms),
        },
        "method": target.method,
        "reason": trade.reason,
        "target_reason": target.reason,
        "sharpe": target.sharpe,
        "bound_gap": target.bound_gap,
        "tau": trade.tau,
        "gain_bp": trade.gain_bp,
        "cost_bp": trade.cost_bp,
        "weights": settled.weights,
        "target": named(inputs.tickers, target.weights),
        "targets": {
            name: named(b.inputs.tickers, b.decision.target.weights) for name, b in books.items()
        },
        "why": why(settled, held),
        "why_reads": reads(made.policy),
        "left_out": _left_out(outlook, settled, hold, exclude),
        "kept": sorted(settled.kept),
        "coverage": round(sight.coverage.share, 4),
    }


def _left_out(
    outlook: Outlook, settled: Settled, hold: tuple[str, ...], exclude: tuple[str, ...]
) -> dict[str, str]:
    """Why each candidate that no policy was told of was left out."""
    candidates = {*outlook.sight.panel.tickers, *outlook.sight.coverage.left_out}
    found = {**outlook.sight.coverage.left_out, **settled.inputs.left_out}
    found |= {t: "excluded" for t in exclude if t in candidates}
    found |= {t: "on hold" for t in hold if t in candidates or t in settled.kept}
    return found | {t: f"{found[t]}: kept at {w:.2%}" for t, w in settled.kept.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
