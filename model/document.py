"""The document that explains a decision, as the bucket and `--json` have it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from model.forecast.drift import CUSUM_LIMIT, PSI_LIMIT
from model.forecast.registry import Reign, Succession
from model.forecast.spec import Spec
from model.holdings import Settled, named
from model.outlook import Outlook
from model.why import reads, why

_ENDED, _WAITING = 6, 8  # champions of before and challengers that are told of, at most
_MEASURED = ("ic", "t", "mae_bp", "naive_mae_bp", "pinball_bp", "normal_pinball_bp", "coverage_50",
             "coverage_80", "coverage_90", "days", "decisions")  # fmt: skip


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
            "psi_limit": PSI_LIMIT,
            "cusum": _rounded(health.cusum),
            "cusum_limit": CUSUM_LIMIT,
            "age_days": health.age_days,
            "alarms": list(health.alarms),
        },
        "model": card(sight.spec),
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


def card(spec: Spec) -> dict[str, Any]:
    """What the network is, what it learned from, and what it was worth on days held out of that."""
    training = spec.training
    return {
        "network": spec.network,
        "members": spec.members,
        "sizes": {name: size for name, size in spec.sizes.items() if _can_be_told(size)},
        "frequency": spec.frequency,
        "window": spec.window,
        "horizon": spec.horizon,
        "target": spec.target,
        "training": {
            "trained_on": training.trained_on,
            "market": training.market,
            "start": training.start.isoformat(),
            "end": training.end.isoformat(),
            "tickers": training.tickers,
            "windows": training.windows,
            "steps": training.steps,
        },
        "metrics": _measured(spec),
        "versions": dict(spec.versions),
    }


def standings(found: Succession, specs: Mapping[str, Spec]) -> list[dict[str, Any]]:
    """The champion first, then those of before, those a rollback took away, and the challengers,
    the last trained first: each bundle once."""
    roles: dict[str, tuple[str, Reign | None]] = {found.champion.id: ("champion", found.champion)}
    for role, reigns in (("before", found.before), ("withdrawn", found.withdrawn)):
        for reign in reigns[:_ENDED]:
            roles.setdefault(reign.id, (role, reign))
    waiting = sorted(specs.keys() - roles.keys(), key=lambda i: specs[i].training.end, reverse=True)
    roles |= dict.fromkeys(waiting[:_WAITING], ("challenger", None))
    return [_standing(bundle_id, *of, specs.get(bundle_id)) for bundle_id, of in roles.items()]


def _standing(bundle_id: str, role: str, reign: Reign | None, spec: Spec | None) -> dict[str, Any]:
    """A reign that is not written down, and a bundle that can't be read, leave None."""
    since, until = (reign.since, reign.until) if reign else (None, None)
    return {
        "id": bundle_id,
        "role": role,
        "since": since.isoformat() if since else None,
        "until": until.isoformat() if until else None,
        "why": reign.why if reign else "",
        "trained_on": spec.training.trained_on if spec else None,
        "trained_until": spec.training.end.isoformat() if spec else None,
        "metrics": _measured(spec) if spec else {},
    }


def _measured(spec: Spec) -> dict[str, float]:
    found = {name: spec.metrics[name] for name in _MEASURED if name in spec.metrics}
    return {name: value for name, value in found.items() if _can_be_told(value)}


def _can_be_told(value: float | str) -> bool:
    """JSON knows no NaN, and no decision should fail for one."""
    return isinstance(value, str) or math.isfinite(value)


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
