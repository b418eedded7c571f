"""What the forecasts have been worth and what made them, in rows and sentences. Pure.

Read from decisions' documents and from counted outcomes; of what an earlier release did not write
down it says so.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from astra.scoring import LEAST_DAYS, Calibration, Ratio, Share
from astra.sessions import NEW_YORK
from frontend.words import UNKNOWN, count, percent

NOT_RECORDED = "not recorded by that release"
_NETWORKS = {"nbeats": "N-BEATS", "nhits": "N-HiTS", "tide": "TiDE", "tsmixer": "TSMixer"}
_MARKETS = {"simulated": "a simulated market", "replay": "a replayed market", "real": "real prices"}
_ROLES = {"before": "was champion", "withdrawn": "withdrawn"}


def last_of_sessions(decided: pd.DataFrame, most: int) -> pd.DataFrame:
    """All decisions (object, as_of), by time, if there are no more than `most`; else the last one
    of each of the last `most` sessions."""
    ordered = decided.sort_values(["as_of", "object"], ignore_index=True)
    if len(ordered) <= most:
        return ordered
    day = ordered["as_of"].dt.tz_convert(str(NEW_YORK)).dt.date
    last: pd.DataFrame = ordered[~day.duplicated(keep="last")]
    return last.tail(most).reset_index(drop=True)


def history(documents: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Skill as each decision had measured it, by time.

    Returns:
        as_of (UTC), model_id, ic, error (its standard error, NaN where t is 0), t, days, on, used
        (the IC that moved weights); NaN where a document has no skill or it rests on no day.
    """
    rows = []
    for document in documents:
        skill = document.get("skill") or {}
        days = int(skill.get("days") or 0)
        ic, t = (_number(skill, name) if days else math.nan for name in ("ic", "t"))
        rows.append(
            {
                "as_of": pd.Timestamp(document["as_of"]).tz_convert("UTC"),
                "model_id": str(document.get("model_id") or ""),
                "ic": ic,
                "error": abs(ic / t) if t else math.nan,
                "t": t,
                "days": days,
                "on": bool(skill.get("on", False)),
                "used": _number(skill, "used"),
            }
        )
    columns = ["as_of", "model_id", "ic", "error", "t", "days", "on", "used"]
    return pd.DataFrame(rows, columns=columns).sort_values("as_of", ignore_index=True)


def calibration_sentence(found: Calibration) -> str:
    """Whether the widest band holds what it promises, and how sure that is."""
    band = found.bands[-1]
    held = (
        f"{percent(band.share, digits=1)} of {count(found.cases, 'close')} lay inside the "
        f"{band.nominal:.0%} band"
    )
    if found.days < LEAST_DAYS:
        return (
            f"{held}, over {count(found.days, 'session')}: names of one session miss together, so "
            f"fewer than {LEAST_DAYS} say little."
        )
    if band.low <= band.nominal <= band.high:
        return f"{held}: as promised, as far as {found.days} sessions can tell."
    width = "narrow" if band.share < band.nominal else "wide"
    return f"{held}: the bands are too {width}, by more than {found.days} sessions explain."


def error_sentence(found: Ratio) -> str:
    """Whether the forecast is closer than the last price."""
    if not math.isfinite(found.ratio):
        return "No price moved, so there is no error to compare."
    said = f"The forecast's mean error is {found.ratio:.4f} times that of the last price"
    if not math.isfinite(found.low):
        return f"{said}; fewer than {LEAST_DAYS} sessions have no interval."
    said += f" (95% interval {found.low:.4f} to {found.high:.4f})"
    if found.high < 1:
        return f"{said}: closer."
    return f"{said}: {'further off' if found.low > 1 else 'not to be told from it'}."


def shares_table(found: Calibration) -> pd.DataFrame:
    """band, nominal, share, error, interval: the bands first, then the quantiles."""
    named = [
        *((f"inside the {s.nominal:.0%} band", s) for s in found.bands),
        *((f"at or below the {s.nominal:.0%} quantile", s) for s in found.quantiles),
    ]
    rows = [
        {
            "where": name, "nominal": s.nominal, "share": s.share,
            "error": f"± {percent(s.error, digits=1)}", "interval": _interval(s),
        }
        for name, s in named
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _interval(share: Share) -> str:
    if not math.isfinite(share.low):
        return UNKNOWN
    return f"{percent(share.low, digits=1)} to {percent(share.high, digits=1)}"


def card_rows(document: Mapping[str, Any]) -> dict[str, str]:
    """What the network is and how it is, by the name of the fact."""
    card, health = document.get("model") or {}, document.get("health") or {}
    training = card.get("training") or {}
    rows = {
        "Model": str(document.get("model_id") or UNKNOWN),
        "Network": _network(card),
        "Forecasts": _task(card),
        "Learned from": _learned(document, training),
        "Until": _until(document, health),
        "On days held out": _held_out(card.get("metrics") or {}),
        "Inputs (PSI)": _against(health, "psi", ".3f"),
        "Errors (CUSUM)": _against(health, "cusum", ".1f"),
        "Alarms": "; ".join(map(str, health.get("alarms") or ())) or "none",
        "Versions": ", ".join(f"{k} {v}" for k, v in (card.get("versions") or {}).items()),
    }
    if not health:
        rows["Alarms"] = NOT_RECORDED
    return {name: told or NOT_RECORDED for name, told in rows.items()}


def _network(card: Mapping[str, Any]) -> str:
    if not card:
        return ""
    name = _NETWORKS.get(card["network"], str(card["network"]))
    sizes = [f"{key.replace('_', ' ')} {size}" for key, size in (card.get("sizes") or {}).items()]
    members = int(card.get("members") or 1)
    mean = f"mean of {members} networks" if members > 1 else ""
    return "; ".join(filter(None, (name, mean, ", ".join(sizes))))


def _task(card: Mapping[str, Any]) -> str:
    if not card:
        return ""
    bars = "days" if card.get("frequency") == "1d" else "bars of 5 minutes"
    return f"the next {card['horizon']} {bars} from the last {card['window']}; {card['target']}"


def _learned(document: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    kind = str(training.get("trained_on") or document.get("trained_on") or "")
    market = _MARKETS.get(kind, kind)
    if not training:
        return market
    return (
        f"{market} ({training['market']}) since {_day(training['start'])}: "
        f"{count(training['tickers'], 'name')}, {count(training['windows'], 'window')}, "
        f"{count(training['steps'], 'step')}"
    )


def _until(document: Mapping[str, Any], health: Mapping[str, Any]) -> str:
    until, age = document.get("trained_until"), health.get("age_days")
    if not until:
        return ""
    return _day(until) + ("" if age is None else f", {count(int(age), 'day')} before this decision")


def _held_out(metrics: Mapping[str, Any]) -> str:
    """What the training measured itself; the parts that it wrote down."""
    ic, t = _number(metrics, "ic"), _number(metrics, "t")
    error, naive = _number(metrics, "mae_bp"), _number(metrics, "naive_mae_bp")
    loss, normal = _number(metrics, "pinball_bp"), _number(metrics, "normal_pinball_bp")
    band = _number(metrics, "coverage_90")
    told = (
        (ic, f"IC {ic:.3f}" + ("" if math.isnan(t) else f" (t {t:.1f})")),
        (naive, f"error {error:.2f} bp against {naive:.2f} bp of the last price"),
        (normal, f"quantile loss {loss:.2f} bp against {normal:.2f} bp of normal bands"),
        (band, f"{percent(band, digits=1)} inside the 90% band"),
    )
    found = "; ".join(text for figure, text in told if math.isfinite(figure))
    days = int(metrics.get("days") or 0)
    return f"{found} ({count(days, 'day')})" if found and days else found


def _against(health: Mapping[str, Any], name: str, form: str) -> str:
    if not health:
        return ""
    value, limit = health.get(name), health.get(f"{name}_limit")
    if value is None:
        return "could not be measured: too few bars or days"
    return f"{value:{form}}" + ("" if limit is None else f", alarm above {limit:g}")


def bundles_table(document: Mapping[str, Any]) -> pd.DataFrame:
    """Champion, former ones and challengers: id, role, since, trained, on, ic, ratio, loss, why, as
    texts; empty where the document names none."""
    rows = []
    for one in document.get("bundles") or ():
        metrics = one.get("metrics") or {}
        rows.append(
            {
                "id": str(one["id"]),
                "role": _ROLES.get(one["role"], str(one["role"])),
                "since": _day(one.get("since")),
                "trained": _day(one.get("trained_until")),
                "on": str(one.get("trained_on") or ""),
                "ic": _text(_number(metrics, "ic"), ".3f"),
                "ratio": _text(
                    _number(metrics, "mae_bp") / _number(metrics, "naive_mae_bp"), ".4f"
                ),
                "loss": _text(_number(metrics, "pinball_bp"), ".2f"),
                "why": str(one.get("why") or ""),
            }
        )
    return pd.DataFrame(rows)


def spread_out(names: Sequence[str], most: int) -> tuple[str, ...]:
    """At most `most` of the names, evenly spaced."""
    return tuple(names[:: max(1, -(-len(names) // most))])


def _day(text: str | None) -> str:
    """`29 Dec 2023` in New York; "" for None."""
    if not text:
        return ""
    local = dt.datetime.fromisoformat(text).astimezone(NEW_YORK)
    return f"{local.day} {local:%b %Y}"


def _text(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else UNKNOWN


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    return math.nan if value is None else float(value)
