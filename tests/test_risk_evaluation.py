"""Scores of covariance estimators: exact on one decision, right above wrong, never ahead."""

from __future__ import annotations

import datetime as dt
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import multivariate_normal
from typer.testing import CliRunner

from astra.cli import risk as judging
from astra.cli.commands import app
from astra.errors import ConfigError, DataError, InsufficientDataError
from astra.sessions import next_decision_time
from astra.settings import Settings
from model.evaluation.risk import (
    MOST,
    NAIVE,
    RiskEvaluation,
    evaluate_risk,
    outcomes,
    risk_times,
    thinned,
)
from model.forecast.target import Normalised, Scaler, normalise
from model.outlook import HISTORY
from model.panel import Floats, Panel
from model.portfolio.covariance import Covariance, until_next_decision
from model.portfolio.estimators import ESTIMATORS, ledoit_wolf
from model.portfolio.limits import Limits
from model.portfolio.top_k import minimum_variance
from tests.test_covariance import panel
from tests.test_estimators import one_factor

LIMITS = Limits(max_weight=0.5, max_sector_weight=1.0)
N, DAYS = 12, 34


def scaled(risk: Covariance, scale: Floats) -> Covariance:
    """The same correlations, deviations times `scale`."""
    return replace(
        risk,
        per_bar=risk.per_bar * np.outer(scale, scale),
        diagonal=risk.diagonal * scale**2,
    )


def quarter(known: Panel, normalised: Normalised) -> Covariance:
    """A quarter of the variance it should be."""
    return scaled(ledoit_wolf(known, normalised), np.full(len(known.tickers), 0.5))


def upside_down(known: Panel, normalised: Normalised) -> Covariance:
    """Calm names taken for wild ones and the other way round."""
    risk = ledoit_wolf(known, normalised)
    return scaled(risk, risk.per_bar.diagonal() ** -1.0 * np.median(risk.per_bar.diagonal()))


@pytest.fixture(scope="module")
def market() -> tuple[Panel, Floats]:
    return one_factor(N, DAYS, seed=3)


@pytest.fixture(scope="module")
def judged(market: tuple[Panel, Floats]) -> RiskEvaluation:
    bars, planted = market

    def true(known: Panel, normalised: Normalised) -> Covariance:
        risk = ledoit_wolf(known, normalised)
        own = np.linalg.eigvalsh(planted)[0]
        return replace(risk, per_bar=planted, diagonal=np.full(N, 0.9 * own))

    everyone = {
        "ledoit_wolf": ledoit_wolf, "true": true, "quarter": quarter, "upside down": upside_down,
    }  # fmt: skip
    return evaluate_risk(bars, risk_times(bars), {}, LIMITS, everyone)


def document(bars: Panel, times: list[dt.datetime]) -> str:
    return json.dumps(evaluate_risk(bars, times, {}, LIMITS).document())


def test_the_true_covariance_is_calibrated_and_most_likely(judged: RiskEvaluation) -> None:
    true = judged.hours["true"]
    assert true.names == pytest.approx(1, abs=0.15)
    assert true.equal_weight == pytest.approx(1, abs=0.4)
    assert true.minimum_variance == pytest.approx(1, abs=0.4)
    best = max(judged.hours, key=lambda name: judged.hours[name].log_likelihood)
    assert best == "true"


def test_a_wrong_estimator_loses_in_likelihood_and_volatility(judged: RiskEvaluation) -> None:
    wrong, right = judged.hours["upside down"], judged.hours["true"]
    assert wrong.likelihood is not None and wrong.likelihood.t < -5
    assert wrong.squared is not None and wrong.squared.t > 2
    assert wrong.volatility_bp > 1.1 * right.volatility_bp


def test_a_quarter_of_the_variance_is_found_out_though_its_weights_are_right(
    judged: RiskEvaluation,
) -> None:
    base, found = judged.hours["ledoit_wolf"], judged.hours["quarter"]
    assert found.names == pytest.approx(4 * base.names)
    assert found.equal_weight == pytest.approx(4 * base.equal_weight)
    assert found.volatility_bp == pytest.approx(base.volatility_bp, rel=1e-4)
    assert found.likelihood is not None and found.likelihood.t < -5


def test_without_correlations_the_risk_of_a_portfolio_is_far_too_low(
    judged: RiskEvaluation,
) -> None:
    assert judged.hours[NAIVE].names == pytest.approx(judged.hours["ledoit_wolf"].names, rel=0.1)
    assert judged.hours[NAIVE].equal_weight > 3


def test_hours_and_nights_are_counted_apart(judged: RiskEvaluation) -> None:
    # Of the last session the decision before the night has no outcome.
    assert judged.decisions == {"hours": 5 * (DAYS - 20), "nights": DAYS - 20 - 1}
    assert judged.days == DAYS - 20
    assert judged.names == N


def test_one_decision_is_scored_as_by_hand() -> None:
    bars = panel(tickers=5, days=24)
    t = bars.sessions[21].decision_times()[-1]
    found = evaluate_risk(bars, [t], {}, LIMITS)
    known = bars.known_at(t)
    risk, horizon = ledoit_wolf(known, normalise(known, Scaler())), until_next_decision(t)
    matrix, diagonal = risk.over(horizon.bars, horizon.nights)
    row, after = np.searchsorted(bars.ends, [t.timestamp(), next_decision_time(t).timestamp()])
    came = bars.close[after] / bars.close[row] - 1
    weights = minimum_variance(matrix, [""] * 5, LIMITS, diagonal).weights
    scores = found.nights["ledoit_wolf"]
    assert found.hours == {}
    assert scores.log_likelihood == pytest.approx(multivariate_normal(cov=matrix).logpdf(came) / 5)
    assert scores.names == pytest.approx(np.mean(came**2 / matrix.diagonal()))
    assert scores.equal_weight == pytest.approx(came.mean() ** 2 / matrix.mean())
    assert scores.volatility_bp == pytest.approx(1e4 * abs(weights @ came))
    assert scores.minimum_variance == pytest.approx(
        (weights @ came) ** 2 / (weights @ matrix @ weights)
    )


def test_an_outcome_is_the_move_from_the_last_price_to_the_last_price() -> None:
    bars = panel(tickers=3, days=3)
    t = bars.sessions[1].decision_times()[1]
    row = int(np.searchsorted(bars.ends, t.timestamp()))
    close = bars.close.copy()
    close[row + 1 : row + 13, 0] = np.nan  # nothing printed in the hour
    close[row - 1 : row + 1, 1] = np.nan  # the last price is two bars old
    close[row + 10 : row + 13, 1] = np.nan
    found = outcomes(replace(bars, close=close), bars.tickers, t)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(bars.close[row + 9, 1] / bars.close[row - 2, 1] - 1)
    assert found[2] == pytest.approx(bars.close[row + 12, 2] / bars.close[row, 2] - 1)


def test_an_estimator_sees_closed_bars_only() -> None:
    bars = panel(tickers=4, days=23, gaps=0.05)
    times, seen = risk_times(bars), []

    def noting(known: Panel, normalised: Normalised) -> Covariance:
        seen.append(int(known.ends[-1]))
        assert len(normalised.feature) == len(known.ts)
        return ledoit_wolf(known, normalised)

    evaluate_risk(bars, times, {}, LIMITS, {"ledoit_wolf": noting})
    assert seen == [int(t.timestamp()) for t in times]


def test_an_estimator_sees_the_whole_sessions_of_60_days_as_a_decision_does() -> None:
    bars = panel(tickers=4, days=46)
    t, seen = risk_times(bars)[-1], []

    def noting(known: Panel, normalised: Normalised) -> Covariance:
        seen.append(known.sessions)
        return ledoit_wolf(known, normalised)

    evaluate_risk(bars, [t], {}, LIMITS, {"ledoit_wolf": noting})
    assert seen == [bars.known_at(t).since(t - HISTORY).sessions]
    assert t - HISTORY > bars.sessions[0].opens_at


def test_bars_after_a_decision_change_no_bit_of_what_was_predicted() -> None:
    bars = panel(tickers=4, days=23, gaps=0.05)
    times = risk_times(bars)[:8]
    after = (bars.ends > times[-1].timestamp())[:, None]
    changed = replace(
        bars,
        open=np.where(after, 3 * bars.open, bars.open),
        close=np.where(after, 5 * bars.close, bars.close),
    )
    predicted: list[bytes] = []

    def noting(known: Panel, normalised: Normalised) -> Covariance:
        risk = ESTIMATORS["ewma"](known, normalised)
        predicted.append(risk.per_bar.tobytes() + risk.night_bars.tobytes())
        return risk

    everyone = {"ledoit_wolf": ledoit_wolf, "ewma": noting}
    one, other = (evaluate_risk(each, times, {}, LIMITS, everyone) for each in (bars, changed))
    assert predicted[: len(times)] == predicted[len(times) :]
    assert one.hours["ewma"] != other.hours["ewma"]  # what came is another matter


def test_bars_after_the_last_outcome_change_no_bit_of_the_figures() -> None:
    bars = panel(tickers=4, days=24, gaps=0.05)
    times = [t for t in risk_times(bars) if t < bars.sessions[22].opens_at]
    after = (bars.ends > next_decision_time(times[-1]).timestamp())[:, None]
    changed = replace(
        bars,
        open=np.where(after, 3 * bars.open, bars.open),
        close=np.where(after, np.nan, bars.close),
    )
    assert document(bars, times) == document(changed, times)


def test_a_ticker_without_bars_is_no_name_and_one_that_falls_silent_is_not_scored() -> None:
    bars = panel(tickers=6, days=22)
    t = bars.sessions[20].decision_times()[2]
    close, opens = bars.close.copy(), bars.open.copy()
    close[:, 0] = opens[:, 0] = np.nan
    close[bars.ends > t.timestamp(), 1] = np.nan
    gappy = replace(bars, close=close, open=opens)
    found = evaluate_risk(gappy, [t], {}, LIMITS)
    assert found.names == 5
    assert found.hours["ledoit_wolf"].names > 0
    scored = outcomes(gappy, bars.tickers, t)
    assert list(np.isfinite(scored)) == [False, False, True, True, True, True]


def test_decisions_that_could_not_be_made_are_counted_with_their_reason() -> None:
    bars = panel(tickers=4, days=23)
    times = risk_times(bars)
    dark = bars.session == 21
    close = np.where(dark[:, None], np.nan, bars.close)
    opens = np.where(dark[:, None], np.nan, bars.open)
    found = evaluate_risk(replace(bars, close=close, open=opens), times, {}, LIMITS)
    (reason, count), *more = found.left_out.items()
    assert "no bar in the last hour" in reason
    assert count == 6
    assert sum(found.decisions.values()) + count + sum(n for _, n in more) == len(times)
    nothing = replace(bars, close=np.full_like(bars.close, np.nan))
    with pytest.raises(InsufficientDataError, match="no covariance could be judged"):
        evaluate_risk(nothing, times, {}, LIMITS)
    with pytest.raises(DataError, match="ledoit_wolf"):
        evaluate_risk(bars, times, {}, LIMITS, {"ewma": ESTIMATORS["ewma"]})


def test_a_long_walk_takes_every_nth_session_whole_and_the_last_one() -> None:
    bars = panel(tickers=2, days=60)
    times = risk_times(bars)
    assert thinned(times, 2) == (times, 1)
    kept, step = thinned(times, MOST // len(times) + 1)
    assert step == 2
    assert kept[-1].date() == times[-1].date()
    assert len({t.date() for t in kept}) == 20
    assert {t for t in times if t.date() == kept[0].date()} <= set(kept)


def test_the_command_says_whose_bars_and_that_the_past_promises_nothing() -> None:
    asked = judging.Asked(None, 1, 6, 0.04, 1)
    found = judging.run(asked, Settings(_env_file=None))
    console = Console(file=io.StringIO(), width=100)
    judging.show(found, console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.startswith("SIMULATED")
    assert "5 decisions on 1 day of simulated:1" in said
    assert all(name in said for name in (*ESTIMATORS, NAIVE))
    assert "(+0.0)" not in said and "t +0.0" not in said, "one day has no t"
    assert "promise nothing" in said
    answer = json.loads(json.dumps(found.as_json()))
    assert answer["decisions"] == {"hours": 5, "nights": 0}
    assert set(answer["hours"]) == {*ESTIMATORS, NAIVE}


def test_options_of_a_network_do_not_go_with_risk() -> None:
    with pytest.raises(ConfigError, match=r"found --bundle, --frequency 1d: leave"):
        judging.refuse(bundle="x", frequency="1d", charts=None, foundation=None)
    refused = CliRunner().invoke(app, ["evaluate", "--risk", "--frequency", "1d"])
    assert isinstance(refused.exception, ConfigError)
