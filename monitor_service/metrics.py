"""What Prometheus scrapes: how things stand, and what the service was asked and how long it took.

Counts of requests are this process's; everything else is the store's.
"""

from __future__ import annotations

import collections
import datetime as dt
import time
from collections.abc import Callable, Iterator

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from astra.records import TradingState
from astra.status import Status

_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_Labels = dict[str, str]
_Sample = tuple[_Labels, float | None]


def add_metrics(app: Flask, status: Callable[[], Status]) -> None:
    """Route /metrics, and what it counts of the other routes."""
    registry = CollectorRegistry()
    registry.register(_OfStatus(status))
    requests = Counter(
        "astra_http_requests",
        "Requests answered by this process.",
        ("method", "route", "status"),
        registry=registry,
    )
    seconds = Histogram(
        "astra_http_request_duration_seconds",
        "How long the answers of this process took.",
        ("method", "route"),
        registry=registry,
        buckets=_BUCKETS,
    )

    @app.after_request
    def _count(response: Response) -> Response:
        method = request.method if request.method in _METHODS else "other"
        route = request.url_rule.rule if request.url_rule else "none"
        requests.labels(method, route, str(response.status_code)).inc()
        seconds.labels(method, route).observe(time.monotonic() - g.started)
        return response

    @app.get("/metrics")
    def _metrics() -> Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encoder(registry), content_type=content_type)


class _OfStatus(Collector):
    """Gathers at each scrape."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing, so that nothing is gathered before the first scrape."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Families in a fixed order; what is not known is left out."""
        status = self._status()
        for family in (_account, _data, _decision, _rebalance, _trading, _books, _jobs, _alerts):
            for name, told, samples in family(status):
                yield from _gauge(name, told, samples)


_Families = Iterator[tuple[str, str, list[_Sample]]]


def _gauge(name: str, told: str, samples: list[_Sample]) -> Iterator[GaugeMetricFamily]:
    known = [(labels, value) for labels, value in samples if value is not None]
    if not known:
        return
    found = GaugeMetricFamily(f"astra_{name}", told, labels=list(known[0][0]))
    for labels, value in known:
        found.add_metric(list(labels.values()), value)
    yield found


def _one(value: float | None) -> list[_Sample]:
    return [({}, value)]


def _at(moment: dt.datetime | None) -> list[_Sample]:
    return _one(None if moment is None else moment.timestamp())


def _account(status: Status) -> _Families:
    told = {
        "release": status.release,
        "account": status.account,
        "trading": "paper" if status.paper else "live",
        "market": status.market,
    }
    yield "info", "Whose account this is, in which market.", [(told, 1.0)]
    yield "now_timestamp_seconds", "The market's time of this answer.", _at(status.at)
    if (worth := status.worth) is not None:
        yield "account_equity_usd", "Cash and positions.", _one(float(worth.equity))
        yield "account_cash_usd", "Cash.", _one(float(worth.cash))
        yield "account_timestamp_seconds", "When the account was saved.", _at(worth.at)


def _data(status: Status) -> _Families:
    data = status.data
    yield "data_timestamp_seconds", "End of the last stored bar.", _at(data.as_of)
    yield "data_names", "Tradable names.", _one(data.names)
    yield "data_fresh_names", "Names with a bar in the hour it is judged by.", _one(data.fresh)
    yield "data_fresh_ratio", "Share of the names that are fresh.", _one(data.share)
    yield "data_stale", "1 if too few are fresh in an open session.", _one(data.is_stale)
    yield "market_open", "1 while the exchange is open.", _one(data.is_open)


def _decision(status: Status) -> _Families:
    if (found := status.decision) is None:
        return
    yield "decision_timestamp_seconds", "As-of time of the last decision.", _at(found.as_of)
    yield "decision_traded_ratio", "Which part of the way it trades.", _one(found.tau)
    yield "model_alarms", "Alarms about the health of its network.", _one(len(found.alarms))


def _rebalance(status: Status) -> _Families:
    if (found := status.rebalance) is not None:
        yield "rebalance_timestamp_seconds", "When the last file was finished.", _at(found.at)
        yield "rebalance_status", "How the last file stands.", [({"status": found.status}, 1.0)]
    if (drifted := status.drift) is not None:
        yield "drift_ratio", "Share of equity away from the last allocation.", _one(drifted.share)


def _trading(status: Status) -> _Families:
    states: list[_Sample] = [
        ({"state": state.value}, float(state is status.trading.state)) for state in TradingState
    ]
    yield "trading_state", "1 for the state the account is in.", states
    confirmed = _one(status.trading.is_confirmed)
    yield "trading_state_confirmed", "1 if nothing is open that it forbids.", confirmed


def _books(status: Status) -> _Families:
    if (found := status.books) is None:
        return
    yield "books_timestamp_seconds", "When books and broker were compared.", _at(found.at)
    yield "books_equal", "1 if they agree.", _one(found.status != "differs")
    yield "books_difference_usd", "Sum of the absolute differences.", _one(found.value_diff)
    yield "books_cash_difference_usd", "Ours less the broker's.", _one(float(found.cash_diff))


def _jobs(status: Status) -> _Families:
    watched = [job for job in status.jobs if job.is_watched]
    last: list[_Sample] = [
        ({"job": job.name}, job.last.timestamp() if job.last else None) for job in watched
    ]
    yield "job_last_run_timestamp_seconds", "When a job ran last.", last
    missed: list[_Sample] = [({"job": job.name}, float(job.is_missed)) for job in watched]
    yield "job_missed", "1 if it has not run to its end since it was due.", missed


def _alerts(status: Status) -> _Families:
    """By kind: what follows a key's colon, such as a file, would be a series of its own each."""
    kinds = collections.Counter(
        (alert.key.partition(":")[0], alert.severity) for alert in status.alerts
    )
    found: list[_Sample] = [
        ({"alert": kind, "severity": severity}, float(n)) for (kind, severity), n in kinds.items()
    ]
    yield "alert", "Open alerts of a kind.", found
    yield "alerts_open", "How many alerts are open.", _one(len(status.alerts))
