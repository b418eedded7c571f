"""The allocation file: what is accepted, and the sentence for what is not."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra import allocation
from astra.errors import DataError

AS_OF = dt.datetime(2026, 6, 15, 14, 0, tzinfo=dt.UTC)
NAME = "target_20260615-140000_0a1b2c3d.csv"
DESCRIBED = {"coverage": "1.0", "forecast": "used", "trained_until": "2026-05-01T20:00:00+00:00"}


def built(weights: dict[str, float]) -> tuple[str, bytes, dict[str, str]]:
    return allocation.build(
        AS_OF, "0a1b2c3d", weights, policy="measured", model_id="m1", metadata=DESCRIBED
    )


tickers = st.from_regex(r"[A-Z]{1,4}", fullmatch=True)


@given(st.dictionaries(tickers, st.floats(0.001, 0.05), min_size=1, max_size=20))
def test_what_is_built_is_parsed_back(weights: dict[str, float]) -> None:
    name, content, metadata = built(weights)
    found = allocation.parse(name, content, metadata, max_names=20)
    assert found.as_of == AS_OF
    assert (found.policy, found.model_id) == ("measured", "m1")
    assert found.weights == pytest.approx(weights, abs=1e-9)


def test_a_file_dropped_by_hand_is_manual_and_lives_thirty_minutes() -> None:
    found = allocation.parse(
        "target_20260615-140000_mine.csv", b"ticker,weight\nAAPL,0.5\n", {}, 20
    )
    assert found.policy == "manual"
    assert found.expires_at - found.as_of == dt.timedelta(minutes=30)


def test_other_columns_and_a_byte_order_mark_are_allowed() -> None:
    content = "\ufeffticker,weight,note\nBRK.B,0.25,why not\n".encode()
    assert allocation.parse(NAME, content, {}, 20).weights == {"BRK.B": 0.25}


@pytest.mark.parametrize(
    ("name", "content", "metadata", "sentence"),
    [
        ("target_now.csv", b"ticker,weight\nA,1\n", {}, "is required, found 'target_now.csv'"),
        ("target_20261399-140000_ab.csv", b"ticker,weight\nA,1\n", {}, "no time of the form"),
        (NAME, b"", {}, "found an empty file"),
        (NAME, b"ticker,weight\n", {}, "at least one row"),
        ("target_99991231-235959_ab.csv", b"ticker,weight\nA,1\n", {}, "no time of the form"),
        (NAME, b"ticker,weight\nA,1\n", {"expires_at": "2026-06-15T13:00+00:00"}, "after its"),
        (NAME, b"weight,ticker\n0.1,A\n", {}, "first columns must be ticker,weight"),
        (NAME, b"ticker,weight\nA,0.1\nA,0.2\n", {}, "line 3: A stands there twice"),
        (NAME, b"ticker,weight\nA\n", {}, "A's weight must be in"),
        (NAME, b"ticker,weight\nA,nan\n", {}, "found 'nan'"),
        (NAME, b"ticker,weight\nA,-0.1\n", {}, "found '-0.1'"),
        (NAME, b"ticker,weight\nA,1.5\n", {}, "found '1.5'"),
        (NAME, b"ticker,weight\nA,much\n", {}, "found 'much'"),
        (NAME, b"ticker,weight\nA;DROP,0.1\n", {}, "a ticker like AAPL"),
        (NAME, b"ticker,weight\nA,0.6\nB,0.6\n", {}, "sum to at most 1, found 1.2"),
        (NAME, b"ticker,weight\nA,0.1\nB,0.1\nC,0.1\n", {}, "at most 2 names"),
        (NAME, b"\xff\xfe\x00", {}, "UTF-8"),
        (NAME, b"ticker,weight\nA,0.1\n", {"sha256": "00"}, "don't match the sha256"),
        (NAME, b"ticker,weight\nA,0.1\n", {"expires_at": "soon"}, "must be an ISO time"),
        (NAME, b"ticker,weight\nA,0.1\n", {"expires_at": "2026-06-15T15:00"}, "time zone"),
        (NAME, b"ticker,weight\nA,0_1\n", {}, "found '0_1'"),
        (NAME, b"ticker,weight,keep\nA,0.1,yes\n", {}, "keep must be 1, 0 or empty, found 'yes'"),
        (NAME, b"ticker,weight\nA,0.1\n", {"coverage": "most"}, r"coverage must be in \[0, 1\]"),
        (NAME, b"ticker,weight\nA,0.1\n", {"trained_until": "May"}, "trained_until must be an ISO"),
        (NAME, b"ticker,weight\nA,0.1\n", {"policy": "equal"}, "coverage must be in the metadata"),
        (NAME, b"ticker,weight\nA,0.1\n", {"policy": "equal", "coverage": "1"}, "say trained"),
        (NAME, b"ticker,weight\nA,0.1\n", {"forecast": "no"}, "forecast must be used or unused"),
        (NAME, b"ticker,weight\nA,0.1\n", {"policy": "x" * 121}, "policy must be printable"),
        (NAME, b"ticker,weight\nA,0.1\n", {"model_id": "a\nb"}, "model_id must be printable"),
    ],
)  # fmt: skip
def test_a_malformed_file_gets_one_sentence(
    name: str, content: bytes, metadata: dict[str, str], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        allocation.parse(name, content, metadata, max_names=2)
    assert "\n" not in str(error.value)


def test_a_changed_byte_is_found() -> None:
    name, content, metadata = built({"AAPL": 0.1})
    with pytest.raises(DataError, match="sha256"):
        allocation.parse(name, content.replace(b"0.1", b"0.2"), metadata, 20)


def test_a_file_of_zeros_sells_everything() -> None:
    name, content, metadata = built({"AAPL": 0.0, "JPM": 0.0})
    assert allocation.parse(name, content, metadata, 20).weights == {}
    assert b"AAPL" in content


def test_rows_marked_keep_stay_and_take_no_place() -> None:
    content = b"ticker,weight,keep\nA,0.2,1\nB,0.3,0\nC,0.1,\nD,0,1\nE,0.1\n"
    found = allocation.parse(NAME, content, {}, max_names=3)
    assert found.weights == {"A": 0.2, "B": 0.3, "C": 0.1, "E": 0.1}
    assert found.keep == {"A", "D"}
    with pytest.raises(DataError, match="at most 2 names are allowed, found 3"):
        allocation.parse(NAME, content, {}, max_names=2)


def test_what_is_kept_is_built_and_parsed_back_and_else_there_is_no_such_column() -> None:
    weights = {"AAPL": 0.1, "JPM": 0.2}
    name, content, metadata = allocation.build(
        AS_OF, "0a1b2c3d", weights, policy="p", model_id="m", metadata=DESCRIBED, keep={"JPM"}
    )
    assert content == b"ticker,weight,keep\nJPM,0.200000000,1\nAAPL,0.100000000,0\n"
    found = allocation.parse(name, content, metadata, 1)
    assert found.weights == weights and found.keep == {"JPM"}
    assert built(weights)[1].startswith(b"ticker,weight\n")


def test_a_file_says_what_its_forecast_covered_and_was_trained_on() -> None:
    described = {"coverage": "0.9123", "trained_until": "2026-05-01T22:00:00+02:00"}
    found = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", described, 20)
    assert found.coverage == 0.9123
    assert found.trained_until == dt.datetime(2026, 5, 1, 20, tzinfo=dt.UTC)
    by_hand = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", {}, 20)
    assert (by_hand.coverage, by_hand.trained_until) == (None, None)


@pytest.mark.parametrize("reason", [{"forecast": "unused"}, {"trained_on": "simulated"}])
def test_a_decision_says_when_its_models_training_ended_or_why_that_does_not_matter(
    reason: dict[str, str],
) -> None:
    described = {**DESCRIBED, "policy": "measured"}
    assert allocation.parse(NAME, b"ticker,weight\nA,0.1\n", described, 20).trained_until
    found = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", {**described, **reason}, 20)
    assert found.trained_until is None
    del described["trained_until"]
    found = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", {**described, **reason}, 20)
    assert found.trained_until is None


lines = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.from_regex(r"[A-C]{1,2},(0?\.[0-9]{1,3}|1|0|1e-3|inf|nan)(,[01x]?)?", fullmatch=True),
    ),
    max_size=6,
)
contents = st.one_of(
    st.binary(max_size=200),
    lines.map(lambda rows: "\n".join(["ticker,weight,keep", *rows]).encode("utf-8", "replace")),
)
keys = st.sampled_from(["expires_at", "policy", "model_id", "coverage", "trained_until", "x"])
times = st.datetimes(timezones=st.sampled_from([None, dt.UTC])).map(dt.datetime.isoformat)
described = st.dictionaries(
    keys, st.one_of(st.text(max_size=200), times, st.floats().map(str)), max_size=4
)
names = st.one_of(
    st.text(max_size=40), st.just(NAME), st.from_regex(r"target_[0-9]{8}-[0-9]{6}_m\.csv")
)


@settings(max_examples=500)
@given(names, contents, described)
def test_whatever_is_delivered_is_an_allocation_or_one_sentence(
    name: str, content: bytes, metadata: dict[str, str]
) -> None:
    try:
        found = allocation.parse(name, content, metadata, max_names=3)
    except DataError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 400
        return
    assert sum(found.weights.values()) <= 1 + 1e-6
    assert all(0 < weight <= 1 for weight in found.weights.values())
    assert len(found.weights.keys() - found.keep) <= 3
    assert found.as_of < found.expires_at <= found.as_of + allocation.LIFETIME
    assert found.coverage is None or 0 <= found.coverage <= 1


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (NAME, True),
        ("target_soon.csv", True),
        ("failure/target_x.csv", False),
        ("target_" + "9" * 200 + ".csv", False),
        ("target_\u0661.csv", False),
        ("target_\n.csv", False),
    ],
)
def test_only_plain_names_are_meant_to_be_traded(name: str, is_one: bool) -> None:
    assert allocation.is_allocation(name) is is_one


def test_nothing_lives_longer_than_half_an_hour() -> None:
    far = {"expires_at": "2099-01-01T00:00+00:00"}
    found = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", far, 20)
    assert found.expires_at == AS_OF + dt.timedelta(minutes=30)
    near = {"expires_at": "2026-06-15T14:05+00:00"}
    found = allocation.parse(NAME, b"ticker,weight\nA,0.1\n", near, 20)
    assert found.expires_at == AS_OF + dt.timedelta(minutes=5)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (AS_OF, None),
        (AS_OF - dt.timedelta(seconds=59), None),
        (AS_OF + dt.timedelta(minutes=29, seconds=59), None),
        (AS_OF + dt.timedelta(minutes=30), "expired at"),
        (AS_OF - dt.timedelta(minutes=2), "dated in the future"),
    ],
)
def test_age_is_judged_by_the_markets_clock(now: dt.datetime, why: str | None) -> None:
    name, content, metadata = built({"AAPL": 0.1})
    found = allocation.why_not_now(allocation.parse(name, content, metadata, 20), now)
    assert found is None if why is None else why in (found or "")


def test_identity_changes_with_the_generation_and_nothing_else() -> None:
    first = allocation.allocation_id("b", NAME, 1)
    assert first == allocation.allocation_id("b", NAME, 1)
    assert (
        len({first, allocation.allocation_id("b", NAME, 2), allocation.allocation_id("c", NAME, 1)})
        == 3
    )
    assert len(first) == 16
