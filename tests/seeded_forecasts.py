"""A store with weeks of forecasts and what came of them, for tests of whoever reads them."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pandas as pd
from bundles import a_spec
from scipy.stats import norm
from seeded_books import MEMBERS, NOW, NUMBER, bars_of, decision_of

from astra.predictions import QUANTILE_COLUMNS, QUANTILES
from astra.records import Account
from astra.sessions import BAR_SECONDS, HORIZON_BARS, last_sessions
from astra.store import Store
from astra.store.books import Member
from model.document import card, standings
from model.forecast.registry import Reign, Succession

MODEL, RIVAL = "nbeats-5m-0a1b2c3d", "nbeats-5m-99887766"
TRAINED_UNTIL = dt.datetime(2026, 9, 30, 20, tzinfo=dt.UTC)
SIGMA = math.hypot(4e-4, 1.1e-3)  # of a member's bar in `bars_of`
_NORMAL = norm.ppf(QUANTILES).tolist()
METRICS = {"ic": 0.021, "t": 2.6, "days": 38.0, "mae_bp": 33.17, "naive_mae_bp": 33.18,
           "pinball_bp": 9.61, "normal_pinball_bp": 9.63, "coverage_90": 0.9056}  # fmt: skip


def skill_of(place: int) -> dict[str, object]:
    """Skill as the decision of that place had measured it: it grows, and goes on at t = 2."""
    t = 0.6 + 0.02 * place
    is_on = t >= 2
    return {
        "ic": 0.012 + 0.0001 * place, "t": round(t, 2), "days": 12 + place // 6, "on": is_on,
        "used": round(0.012 + 0.0001 * place, 4) if is_on else 0.0, "suspect": False,
        "reason": "as made up",
    }  # fmt: skip


def forecasts_at(last: pd.Series, as_of: dt.datetime, seed: int) -> pd.DataFrame:
    """Normal bands as wide as the prices really move, around the last close."""
    rng, stamp = np.random.default_rng(seed), int(as_of.timestamp())
    rows = []
    for ticker in MEMBERS:
        drift = float(rng.normal(0, 1e-5))
        for step in range(1, HORIZON_BARS + 1):
            middle = float(last[ticker]) * math.exp(drift * step)
            spread = SIGMA * math.sqrt(step)
            wide = {
                name: middle * math.exp(spread * z)
                for name, z in zip(QUANTILE_COLUMNS, _NORMAL, strict=True)
            }
            rows.append(
                {"model_id": MODEL, "as_of": stamp, "ticker": ticker, "step": step,
                 "ts": stamp + BAR_SECONDS * (step - 1), "close": middle, **wide}
            )  # fmt: skip
    return pd.DataFrame(rows)


def told_of_network() -> dict[str, object]:
    """The part of a document on the network and on those beside it."""
    own, other = a_spec(1, end=TRAINED_UNTIL, metrics=METRICS), a_spec(2, metrics=METRICS)
    since = dt.datetime(2026, 10, 5, 12, tzinfo=dt.UTC)
    reigns = Succession(
        Reign(MODEL, "h", since, "quantile loss 9.6100 bp against 9.6300 bp of the champion"),
        (Reign("nbeats-5m-00000001", "h", None, "the first of its frequency", since),),
    )
    return {
        "model": card(own),
        "bundles": standings(reigns, {MODEL: own, RIVAL: other}),
        "trained_until": TRAINED_UNTIL.isoformat(),
        "health": {
            "psi": 0.031, "psi_limit": 0.25, "cusum": 1.4, "cusum_limit": 5.0, "age_days": 50,
            "alarms": [],
        },
    }  # fmt: skip


def seed_forecasts(store: Store, days: int = 24) -> list[dt.datetime]:
    """Bars, and a decision with its forecasts at each decision time of the last `days` sessions,
    which come back; an account that did nothing."""
    sessions = last_sessions(days + 2, NOW)
    bars = bars_of(sessions, 11)
    store.prices.upsert(bars, NOW)
    store.claim_market("simulated:1")
    store.record_now(NOW)
    store.books.record_universe(
        [Member(t, name, sector, "", True) for t, (name, sector) in MEMBERS.items()],
        sessions[0].opens_at,
    )
    cash = Decimal(100_000)
    account = Account(NUMBER, cash, cash, cash)
    store.books.record_account_summary(account, [], NOW)
    closes = bars.pivot_table(index="ts", columns="ticker", values="close")
    times = [t for s in sessions[2:] for t in s.decision_times() if t <= NOW]
    frames = []
    for place, as_of in enumerate(times):
        last = closes[closes.index + BAR_SECONDS <= as_of.timestamp()].iloc[-1]
        frames.append(forecasts_at(last, as_of, place))
        told = decision_of(
            {"KO": 0.1}, as_of, model_id=MODEL, skill=skill_of(place), **told_of_network()
        )
        store.books.record_decision(f"decision_{as_of:%Y%m%d-%H%M%S}_00000000.json", told)
    store.books.record_forecasts(pd.concat(frames, ignore_index=True))
    return times
