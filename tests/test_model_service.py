"""The model service against the ETL service and the sandbox: what it decides, drops and refuses."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from astra import bars
from astra.allocation import parse
from astra.errors import BundleError, ConfigError
from astra.gcs import Bucket, connect
from astra.rebalance import Holdings, Rules, plan_orders
from astra.records import Account, Asset, PlannedOrder, Position
from astra.sessions import sessions_between
from astra.settings import HOUSE, Settings
from astra.store import open_store
from etl_service.main import create_app as create_etl
from model.decision import held_weights
from model.forecast.homes import Folder
from model.forecast.keeper import Keeper
from model.forecast.registry import Registry, shipped
from model.forecast.scorebook import Scorebook
from model.main import create_app
from sandbox.main import Sandbox
from sandbox.market import default_tickers
from sandbox.markets import simulated_market
from sandbox.serving import Servers

TEN = dt.datetime(2026, 3, 20, 14, 0, tzinfo=dt.UTC)
NAMES = default_tickers(8)[:8]


@dataclass(frozen=True)
class House:
    """The model service's neighbours, all real, on loopback."""

    sandbox: Sandbox
    settings: Settings
    etl: FlaskClient

    def load(self) -> None:
        assert self.etl.post("/load_price_history").status_code == 200

    def client(self, **changes: object) -> FlaskClient:
        return create_app(self.settings.model_copy(update=changes)).test_client()

    def dropped(self, prefix: str = "") -> tuple[str, ...]:
        return Bucket.from_settings(self.settings).names(prefix)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    market = simulated_market(
        (*NAMES, "SPY"),
        seed=3,
        edge=0.1,
        start=dt.date(2026, 2, 23),
        end=dt.date(2026, 3, 24),
        at=TEN,
    )
    with Sandbox(market) as sandbox:
        settings = Settings(
            _env_file=None,
            var=tmp_path,
            database_url=f"sqlite:///{tmp_path / 'astra.db'}",
            source="alpaca",  # asked in this process: Yahoo's client would start two for each test
            alpaca_key="key",
            alpaca_secret="secret",
            alpaca_data_url=sandbox.urls.alpaca,
            storage_url=sandbox.urls.storage,
            tickers="|".join(NAMES),
            benchmarks="SPY",
            max_weight=0.2,
            vendor_timeout=5.0,
        )
        etl = create_etl(settings)
        with Servers({"etl": etl}) as urls:
            settings = settings.model_copy(update={"etl_url": urls["etl"]})
            yield House(sandbox, settings, etl.test_client())


def test_a_decision_is_made_explained_and_dropped(house: House) -> None:
    house.load()
    decision = house.client().post("/allocate").get_json()
    assert decision["as_of"] == TEN.isoformat()
    assert decision["market"] == "simulated:3"
    assert set(decision["weights"]) <= set(NAMES)
    assert max(decision["weights"].values()) <= 0.2 + 1e-9
    assert sum(decision["weights"].values()) <= 0.98 + 1e-9
    assert decision["bound_gap"] >= 0
    assert set(decision["targets"]) >= {"measured", "original", "min_variance", "equal"}
    bucket = Bucket.from_settings(house.settings)
    target = bucket.read(decision["object"])
    found = parse(target.name, target.content, target.metadata, max_names=20)
    assert found.weights == pytest.approx(decision["weights"], abs=1e-9)
    assert (found.as_of, found.policy) == (TEN, "measured")
    assert {n.split("_")[0] for n in house.dropped()} == {
        "predictions", "decision", "record", "target",
    }  # fmt: skip


def test_the_second_call_answers_with_the_first_decision(house: House) -> None:
    house.load()
    first = house.client().post("/allocate").get_json()
    objects = house.dropped()
    house.sandbox.market.clock.step_to(TEN + dt.timedelta(minutes=10))
    house.load()
    assert house.client().post("/allocate").get_json() == first
    assert house.dropped() == objects


def test_a_decision_whose_target_never_arrived_is_completed(house: House) -> None:
    house.load()
    client = house.client()
    decision = client.post("/allocate").get_json()
    bucket = connect(house.settings).bucket(house.settings.bucket)
    bucket.blob(decision["object"]).delete()
    assert house.dropped("target_") == ()
    assert client.post("/allocate").get_json() == decision
    assert house.dropped("target_") == (decision["object"],)


def test_other_settings_are_another_decision(house: House) -> None:
    house.load()
    client = house.client()
    names = {
        client.post("/allocate", json=body).get_json()["object"]
        for body in ({}, {"policy": "original"}, {"k": 5})
    }
    assert len(names) == 3


def test_what_happens_later_changes_nothing(house: House) -> None:
    house.load()
    before = house.client().post("/allocate", json={"policy": "trust"}).get_json()
    house.sandbox.market.clock.step_to(TEN + dt.timedelta(hours=2))
    house.load()
    asked = {"as_of": TEN.isoformat(), "policy": "trust"}
    later = house.client(bucket="astra-allocations", k=19).post("/allocate", json=asked).get_json()
    assert later["weights"] == before["weights"]
    assert later["skill"] == before["skill"]


def test_it_starts_from_what_the_account_holds_and_mostly_holds(house: House) -> None:
    house.load()
    client = house.client()
    first = client.post("/allocate", json={"policy": "min_variance"}).get_json()
    store = open_store(house.settings.database_url)
    positions = [
        Position(t, Decimal(str(round(w * 1000, 6))), 100.0, 100.0)
        for t, w in first["weights"].items()
    ]
    cash = 100_000 - 100 * sum(p.qty for p in positions)
    account = Account("1", cash, Decimal(100_000), cash)
    store.books.record_account_summary(account, positions, TEN)
    again = house.client(k=19).post("/allocate", json={"policy": "min_variance"}).get_json()
    assert again["tau"] < first["tau"]
    assert again["weights"] == pytest.approx(first["weights"], abs=0.02)


def correct(house: House, ticker: str, factor: float, seen: dt.datetime) -> None:
    """The last three bars of `ticker` were wrong, as the vendor says at `seen`."""
    store = open_store(house.settings.database_url)
    frame = bars.from_arrow(store.prices.read([ticker], TEN - dt.timedelta(minutes=15), TEN))
    frame.loc[:, list(bars.PRICES)] *= factor
    assert store.prices.upsert(frame, seen).updated == len(frame) > 0
    store.close()


def orders(weights: dict[str, float]) -> tuple[PlannedOrder, ...]:
    """What an empty account of 100,000 USD would do."""
    prices = dict.fromkeys(NAMES, 87.31)
    assets = {t: Asset(t, t, True, True) for t in NAMES}
    empty = Holdings([], prices, assets, 100_000.0, 100_000.0, 100_000.0)
    return plan_orders(weights, empty, Rules(0.001, 1.0)).buys


def test_a_replay_sees_what_the_decision_saw_and_a_correction_only_when_asked(
    house: House,
) -> None:
    house.load()
    client = house.client()
    first = client.post("/allocate", json={"policy": "min_variance"}).get_json()
    objects = house.dropped()
    later = TEN + dt.timedelta(hours=2)
    house.sandbox.market.clock.step_to(later)
    house.load()
    name = max(first["weights"], key=first["weights"].__getitem__)
    correct(house, name, 0.9, later)
    asked = {"as_of": TEN.isoformat(), "policy": "min_variance"}
    then = client.post("/replay", json=asked).get_json()
    assert (then["same_weights"], then["same_bars"]) == (True, True)
    assert orders(then["weights"]) == orders(first["weights"]) != ()
    assert then["message"] == "the same weights, from the same bars"
    now = client.post("/replay", json={**asked, "known_at": later.isoformat()}).get_json()
    assert (now["same_weights"], now["same_bars"]) == (False, False)
    assert orders(now["weights"]) != orders(first["weights"])
    assert "bars that were corrected" in now["message"]
    assert house.dropped() == objects


def test_a_replay_starts_from_what_was_held_then(house: House) -> None:
    house.load()
    store = open_store(house.settings.database_url)
    account = Account("1", Decimal(50_000), Decimal(100_000), Decimal(50_000))
    held = [Position(NAMES[0], Decimal(500), 100.0, 100.0)]
    store.books.record_account_summary(account, held, TEN - dt.timedelta(hours=1))
    client = house.client()
    first = client.post("/allocate").get_json()
    store.books.record_account_summary(account, [], TEN)
    again = client.post("/replay", json={"as_of": TEN.isoformat()}).get_json()
    assert first["held_weights"] == {NAMES[0]: 0.5}
    assert (again["same_weights"], again["decided"]) == (True, first["weights"])


def test_a_replay_is_the_same_whatever_came_since(house: House, tmp_path: Path) -> None:
    """Bars split, replaced by another feed, members gone, another account: none of it was known."""
    house.load()
    store = open_store(house.settings.database_url)
    account = Account("1", Decimal(50_000), Decimal(100_000), Decimal(50_000))
    held = [Position(t, Decimal(100), 100.0, 100.0) for t in (NAMES[0], "GONE")]
    store.books.record_account_summary(account, held, TEN - dt.timedelta(hours=1))
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "def flat(inputs):\n"
        "    return np.full(len(inputs.tickers), 0.5 / len(inputs.tickers))\n"
    )
    own = house.client(policy=f"{file}:flat")
    asked = [(own, {}), (house.client(), {"policy": "min_variance", "k": 7})]
    first = [client.post("/allocate", json=body).get_json() for client, body in asked]
    assert all(one["weights"] and "GONE" in one["held_weights"] for one in first)
    later = TEN + dt.timedelta(hours=1)
    frame = bars.from_arrow(store.prices.read([NAMES[1]]))
    frame[list(bars.PRICES)] /= 2
    store.prices.upsert(frame, later)
    store.prices.upsert(bars.from_arrow(store.prices.read([NAMES[2]])), later, "alpaca-sip")
    store.books.record_universe(store.books.universe()[3:], later)
    store.books.record_account_summary(account, [], later)
    store.close()
    for (client, body), one in zip(asked, first, strict=True):
        again = client.post("/replay", json={**body, "as_of": TEN.isoformat()}).get_json()
        assert (again["same_weights"], again["same_bars"]) == (True, True)
        assert again["weights"] == one["weights"]
        now = {**body, "as_of": TEN.isoformat(), "known_at": later.isoformat()}
        assert not client.post("/replay", json=now).get_json()["same_bars"]


def test_a_decision_that_did_not_say_what_it_knew_is_not_made_again(house: House) -> None:
    house.load()
    client = house.client()
    made = client.post("/allocate").get_json()
    bucket = Bucket.from_settings(house.settings)
    (name,) = house.dropped("decision_")
    old = {key: made[key] for key in made.keys() - {"held_weights", "bars"}}
    blob = connect(house.settings).bucket(house.settings.bucket).blob(name)
    blob.metadata = {"model_id": made["model_id"]}
    blob.upload_from_string(json.dumps(old), "application/json")
    assert bucket.read(name).content == json.dumps(old).encode()
    answer = client.post("/replay", json={"as_of": TEN.isoformat()})
    assert answer.status_code == 400
    assert "has no held_weights, bars" in answer.get_json()["message"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, 'needs the "as_of"'),
        ({"as_of": TEN.isoformat()}, "found none in the bucket"),
        ({"as_of": TEN.isoformat(), "known_at": "then"}, "known_at must be an ISO time"),
    ],
)
def test_a_replay_of_nothing_is_refused(house: House, body: object, sentence: str) -> None:
    answer = house.client().post("/replay", json=body)
    assert answer.status_code == 400
    assert sentence in answer.get_json()["message"]


def test_an_empty_store_is_refused_and_nothing_is_dropped(house: House) -> None:
    answer = house.client().post("/allocate")
    assert answer.status_code == 409
    assert "load_price_history" in answer.get_json()["message"]
    assert house.dropped() == ()


def test_stale_bars_are_refused(house: House) -> None:
    house.load()
    asked = {"as_of": (TEN + dt.timedelta(hours=1)).isoformat()}
    answer = house.client().post("/allocate", json=asked)
    assert answer.status_code == 409
    assert "last loaded at 2026-03-20 14:00 UTC" in answer.get_json()["message"]
    assert house.dropped() == ()


def test_too_few_usable_tickers_are_refused(house: House) -> None:
    some = "|".join(NAMES[:3])
    assert house.etl.post(f"/load_price_history?ticker={some}").status_code == 200
    answer = house.client().post("/allocate")
    assert answer.status_code == 409
    assert "found 3 of 8" in answer.get_json()["message"]
    assert house.dropped() == ()


def test_between_decisions_none_is_due(house: House) -> None:
    house.sandbox.market.clock.step_to(TEN + dt.timedelta(minutes=40))
    house.load()
    answer = house.client().post("/allocate")
    assert answer.status_code == 409
    assert "no decision is due" in answer.get_json()["message"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"as_of": "now"}, "must be an ISO time"),
        ({"as_of": "2026-03-20T14:00"}, "needs a time zone"),
        ({"as_of": 5}, "must be an ISO time"),
        ({"k": 0}, "whole number from 1"),
        ({"k": 21}, "from 1 to ASTRA_K, 20"),
        ({"as_of": "2026-03-20T14:35:00+00:00"}, "must be a decision time"),
        ({"k": True}, "whole number from 1"),
        ({"policy": "astrology"}, "policy must be one of"),
        ({"policy": "/etc/passwd.py:x"}, "policy must be one of"),
        ({"polici": "equal"}, "nothing else"),
        ([1], "nothing else"),
    ],
)
def test_a_malformed_request_is_refused(house: House, body: object, sentence: str) -> None:
    answer = house.client().post("/allocate", json=body)
    assert answer.status_code == 400
    assert sentence in answer.get_json()["message"]


@pytest.mark.parametrize("raw", [b"{", b"policy=equal", b'"equal"', b"0", b"null", b"[]"])
def test_a_body_that_cannot_be_read_is_refused_and_not_taken_as_empty(
    house: House, raw: bytes
) -> None:
    answer = house.client().post("/allocate", data=raw)
    assert answer.status_code == 400
    assert house.dropped() == ()


def test_of_decisions_made_at_once_one_stands_and_all_answer_with_it(house: House) -> None:
    house.load()
    clients = [house.client() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda client: client.post("/allocate"), clients))
    assert [a.status_code for a in answers] == [200] * 3
    assert len({a.text for a in answers}) == 1
    assert len(house.dropped("target_")) == 1


def test_what_was_bought_by_hand_is_not_taken_for_ours(house: House) -> None:
    house.load()
    store = open_store(house.settings.database_url)
    theirs = [Position(NAMES[0], Decimal(500), 100.0, 100.0)]
    account = Account("1", Decimal(50_000), Decimal(100_000), Decimal(50_000))
    store.books.record_account_summary(account, theirs, TEN, own={})
    decision = house.client().post("/allocate").get_json()
    assert decision["held"] == []


def test_a_policy_that_wants_cash_sells_everything(house: House, tmp_path: Path) -> None:
    house.load()
    mine = tmp_path / "cash.py"
    mine.write_text(
        "import numpy as np\n\n\ndef cash(inputs):\n    return np.zeros(len(inputs.tickers))\n"
    )
    store = open_store(house.settings.database_url)
    held = [Position(NAMES[0], Decimal(300), 100.0, 100.0)]
    account = Account("1", Decimal(70_000), Decimal(100_000), Decimal(70_000))
    store.books.record_account_summary(account, held, TEN)
    client = house.client(policy=f"{mine}:cash", equity_premium=-0.2)
    decision = client.post("/allocate").get_json()
    assert (decision["weights"], decision["held"]) == ({}, [NAMES[0]])
    bucket = Bucket.from_settings(house.settings)
    target = bucket.read(decision["object"])
    assert parse(target.name, target.content, target.metadata, max_names=20).weights == {}
    assert NAMES[0].encode() in target.content


def test_an_etl_service_that_is_down_is_a_passing_fault(house: House) -> None:
    answer = house.client(etl_url="http://127.0.0.1:9").post("/allocate")
    assert answer.status_code == 503
    assert "etl service does not answer" in answer.get_json()["message"]


def test_a_policy_of_ones_own_decides(house: House, tmp_path: Path) -> None:
    house.load()
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import numpy as np\n\n\ndef first_two(inputs):\n"
        "    return np.array([0.1, 0.1] + [0.0] * (len(inputs.tickers) - 2))\n"
    )
    decision = house.client(policy=f"{mine}:first_two").post("/allocate").get_json()
    assert set(decision["target"]) == set(sorted(NAMES)[:2])
    bad = tmp_path / "bad.py"
    bad.write_text("def greedy(inputs):\n    return [1.0] * len(inputs.tickers)\n")
    answer = house.client(policy=f"{bad}:greedy").post("/allocate")
    assert answer.status_code == 400
    assert "bad.py:greedy" in answer.get_json()["message"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.py:f", "existing file.py:function"),
        ("{tmp}/empty.py:f", "has no function f"),
        ("{tmp}/broken.py:f", "cannot be loaded: SyntaxError"),
    ],
)
def test_a_policy_that_is_not_there_stops_the_service_at_its_start(
    house: House, tmp_path: Path, name: str, sentence: str
) -> None:
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(ConfigError, match=sentence):
        house.client(policy=name.format(tmp=tmp_path))


def test_a_missing_or_tampered_bundle_stops_the_service_at_its_start(
    house: House, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="make train"):
        house.client(bundles=tmp_path / "nowhere")
    champion = json.loads((HOUSE / "model" / "bundles" / "champion.json").read_text())
    copied = tmp_path / "bundles"
    for path in (HOUSE / "model" / "bundles").rglob("*.*"):
        target = copied / path.relative_to(HOUSE / "model" / "bundles")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    network = next(copied.rglob("model.onnx"))
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    assert network.parent.name in json.dumps(champion)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        house.client(bundles=copied)


@pytest.mark.parametrize(
    ("equity", "capital", "weight"),
    [(1000.0, 0.0, 0.1), (1000.0, 500.0, 0.2), (1000.0, 5000.0, 0.1)],
)
def test_what_is_held_counts_of_the_equity_that_is_managed(
    equity: float, capital: float, weight: float
) -> None:
    assert held_weights({"A": 100.0}, equity, capital) == {"A": weight}
    assert held_weights({"A": 100.0}, 0.0, capital) == {}


def record_of(house: House) -> Scorebook:
    (name,) = house.dropped("record_")
    model_id = name.removeprefix("record_").removesuffix(".parquet")
    return Keeper(Bucket.from_settings(house.settings)).read(model_id)


def an_hour_later(house: House, hours: int = 1) -> None:
    house.sandbox.market.clock.step_to(TEN + dt.timedelta(hours=hours))
    house.load()


def test_what_is_on_hold_is_not_in_the_file_and_no_limit_of_a_file_stops_the_trade(
    house: House,
) -> None:
    house.load()
    store = open_store(house.settings.database_url)
    held = [Position(t, Decimal(300), 100.0, 100.0) for t in NAMES[:4]]
    cash = Account("1", Decimal(20_000), Decimal(140_000), Decimal(20_000))
    store.books.record_account_summary(cash, held, TEN)
    store.close()
    hold = NAMES[:3]
    for k, capital in ((2, 0.0), (20, 20_000.0)):  # too many of them, and more than all of it
        made = house.client(hold="|".join(hold), k=k, capital=capital).post("/allocate").get_json()
        assert {t: made["weights"][t] for t in hold} == {t: made["held_weights"][t] for t in hold}
        assert all(made["left_out"][t].startswith("on hold: kept at ") for t in hold)
        target = Bucket.from_settings(house.settings).read(made["object"])
        found = parse(target.name, target.content, target.metadata, max_names=k)
        assert found.weights == {}  # what is kept takes all the room there is
        prices = dict.fromkeys(NAMES, 100.0)
        assets = {t: Asset(t, t, True, True) for t in NAMES}
        holdings = Holdings(held, prices, assets, 140_000.0, 20_000.0, 20_000.0)
        plan = plan_orders(found.weights, holdings, Rules(0.001, 1.0, hold=frozenset(hold)))
        assert [(o.symbol, o.qty) for o in plan.sells] == [(NAMES[3], Decimal(300))]
        assert plan.buys == ()


def test_an_account_saved_before_the_last_decision_is_warned_of(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.sandbox.market.clock.step_to(TEN + dt.timedelta(hours=1))
    house.load()
    store = open_store(house.settings.database_url)
    account = Account("1", Decimal(100_000), Decimal(100_000), Decimal(100_000))
    for saved, is_old in ((TEN - dt.timedelta(minutes=1), True), (TEN, False)):
        caplog.clear()
        store.books.record_account_summary(account, [], saved)
        made = house.client(k=19 + is_old).post("/allocate").get_json()
        assert made["as_of"] == (TEN + dt.timedelta(hours=1)).isoformat()
        assert ("before the last decision" in caplog.text) is is_old
    store.close()


def test_an_account_of_names_on_hold_alone_has_no_file_to_trade(house: House) -> None:
    house.load()
    store = open_store(house.settings.database_url)
    held = [Position(NAMES[0], Decimal(1000), 100.0, 100.0)]
    account = Account("1", Decimal(0), Decimal(100_000), Decimal(0))
    store.books.record_account_summary(account, held, TEN)
    store.close()
    made = house.client(hold=NAMES[0]).post("/allocate").get_json()
    assert (made["object"], made["weights"]) == (None, {NAMES[0]: 1.0})
    assert house.dropped("target_") == ()


def test_the_record_is_made_once_and_grows_by_each_decision(house: House) -> None:
    house.load()
    client = house.client()
    first = client.post("/allocate").get_json()
    made = record_of(house)
    assert made.record.tickers == tuple(sorted(NAMES))
    sessions = sessions_between(made_at(made.record.as_of[0]), TEN + dt.timedelta(hours=1))
    wanted = [int(t.timestamp()) for s in sessions for t in s.decision_times() if t <= TEN]
    assert made.record.as_of.tolist() == wanted
    assert first["skill"]["decisions"] == len(wanted) - 1
    assert first["seconds"]["skill"] > 0
    an_hour_later(house)
    second = client.post("/allocate").get_json()
    grown = record_of(house)
    assert grown.record.as_of.tolist() == [*wanted, int(TEN.timestamp()) + 3600]
    np.testing.assert_array_equal(grown.record.score[:-1], made.record.score)
    assert np.isfinite(grown.record.volatility[-1]).any()
    assert second["skill"]["decisions"] == first["skill"]["decisions"] + 1


def made_at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)


def test_a_decision_that_was_never_made_leaves_a_hole_that_the_next_one_fills(
    house: House,
) -> None:
    house.load()
    client = house.client()
    client.post("/allocate")
    an_hour_later(house, 2)
    client.post("/allocate")
    stamps = record_of(house).record.as_of[-3:]
    assert (stamps - int(TEN.timestamp())).tolist() == [0, 3600, 7200]


def test_a_replay_finds_the_skill_of_then_whatever_was_added_or_lost_since(house: House) -> None:
    house.load()
    client = house.client()
    first = client.post("/allocate").get_json()
    assert first["skill"]["t"] != 0
    later = TEN + dt.timedelta(hours=2)
    store = open_store(house.settings.database_url)
    frame = bars.from_arrow(store.prices.read([NAMES[0]], TEN - dt.timedelta(days=14), TEN))
    frame.loc[:, list(bars.PRICES)] *= np.linspace(0.9, 1.1, len(frame))[:, None]
    store.prices.upsert(frame, later)
    store.close()
    an_hour_later(house, 2)
    now = client.post("/allocate").get_json()
    early = (TEN - dt.timedelta(days=1)).isoformat()
    assert client.post("/allocate", json={"as_of": early}).status_code == 200
    assert now["skill"]["t"] != first["skill"]["t"]
    asked = {"as_of": TEN.isoformat()}
    assert client.post("/replay", json=asked).get_json()["same_skill"]
    bucket = connect(house.settings).bucket(house.settings.bucket)
    bucket.blob(house.dropped("record_")[0]).delete()
    again = house.client().post("/replay", json=asked).get_json()
    assert again["same_skill"] and again["same_weights"]
    assert house.dropped("record_") == (), "a replay writes nothing"


def test_an_earlier_decision_made_on_the_same_load_changes_no_replay(house: House) -> None:
    house.load()
    client = house.client()
    client.post("/allocate")
    early = (TEN - dt.timedelta(days=3)).isoformat()
    assert client.post("/allocate", json={"as_of": early}).status_code == 200
    again = client.post("/replay", json={"as_of": TEN.isoformat()}).get_json()
    assert again["same_skill"] and again["same_weights"]


def test_a_record_that_is_none_stops_no_decision(house: House) -> None:
    house.load()
    client = house.client()
    first = client.post("/allocate").get_json()
    (name,) = house.dropped("record_")
    blob = connect(house.settings).bucket(house.settings.bucket).blob(name)
    blob.upload_from_string(b"garbage", "application/vnd.apache.parquet")
    an_hour_later(house)
    second = client.post("/allocate")
    assert second.status_code == 200
    assert second.get_json()["skill"]["decisions"] == first["skill"]["decisions"] + 1
    assert blob.download_as_bytes() == b"garbage", "it is left for a person to look at"


def test_while_nobody_can_say_who_is_champion_the_one_in_use_decides(
    house: House, tmp_path: Path
) -> None:
    shutil.copytree(HOUSE / "model" / "bundles", tmp_path / "bundles")
    client = house.client(bundles=tmp_path / "bundles")
    (tmp_path / "bundles" / "champion.json").write_text("{")
    house.load()
    first = client.post("/allocate")
    assert first.status_code == 200
    assert client.post("/allocate").get_json() == first.get_json()


def test_an_old_network_is_not_used_and_the_decision_says_what_to_do(
    house: House, tmp_path: Path
) -> None:
    house.load()
    bundle, folder = shipped().load(), tmp_path / "bundles"
    training = dataclasses.replace(bundle.spec.training, trained_on="real")
    spec = dataclasses.replace(bundle.spec, training=training)
    registry = Registry(Folder(folder))
    registry.promote(registry.register(spec, bundle.onnx, bundle.weights).id, TEN, "a test")
    old = house.client(bundles=folder).post("/allocate").get_json()
    age = (TEN - training.end).days
    sentence = (
        f"the network is {age} days old (limit 365): train another (astra train) and put it in use "
        "(astra models promote)"
    )
    assert old["health"]["alarms"] == [sentence]
    assert old["health"]["age_days"] == age
    assert (old["skill"]["on"], old["skill"]["used"]) == (False, 0)
    assert old["skill"]["reason"] == sentence
    assert old["target"] == old["targets"]["min_variance"]
    young = house.client(bundles=folder, model_max_age_days=0).post("/allocate").get_json()
    assert young["health"]["alarms"] == []
    assert young["object"] != old["object"], "another setting is another decision"
    assert old["model"]["training"]["end"] == training.end.isoformat()
    told = [(one["id"], one["role"], one["why"]) for one in old["bundles"]]
    assert told == [(registry.champion_id(), "champion", "a test")]
