"""Where the record of a bundle's forecasts is kept: `record_<bundle id>.parquet` in the bucket."""

from __future__ import annotations

from astra.errors import TemporaryError
from astra.gcs import Bucket
from model.forecast.scorebook import Scorebook, empty, from_parquet, to_parquet

KEPT_SECONDS = 400 * 86_400  # before the newest row; a decision needs 60 days
MOST_BYTES = 64 * 2**20
_ATTEMPTS = 5  # each lost race means that another decision's rows were added meanwhile


class Keeper:
    """Reads and extends the books in a bucket; the last one is kept while its object stands.

    Both methods raise DataError if the object is not a record of forecasts, and a bucket's errors.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._last: tuple[Scorebook, int] | None = None

    def read(self, model_id: str) -> Scorebook:
        """The book as it stands; without rows if nothing was ever written."""
        return self._current(model_id)[0]

    def add(self, fresh: Scorebook) -> Scorebook:
        """Add the rows that are not there yet; the book that stands then.

        Raises:
            TemporaryError: others kept writing it.
        """
        model_id = fresh.record.model_id
        name = name_of(model_id)
        for _ in range(_ATTEMPTS):
            held, generation = self._current(model_id)
            whole = held.joined(fresh)
            if whole.rows == held.rows:
                return held
            whole = whole.since(int(whole.record.as_of[-1]) - KEPT_SECONDS)
            content, kind = to_parquet(whole), "application/vnd.apache.parquet"
            described = {"model_id": model_id}
            written = self._bucket.replace(name, content, kind, described, generation)
            if written is not None:
                self._last = whole, written
                return whole
        raise TemporaryError(
            f"{self._bucket.url}/{name} was changed by others {_ATTEMPTS} times in a row"
        )

    def _current(self, model_id: str) -> tuple[Scorebook, int]:
        name = name_of(model_id)
        stands = next((i.generation for i in self._bucket.list(name) if i.name == name), 0)
        last = self._last
        if last is not None and last[0].record.model_id == model_id and last[1] == stands:
            return last
        found = self._bucket.read_or_none(name, most=MOST_BYTES) if stands else None
        if found is None:
            return empty(model_id), 0
        fresh = from_parquet(model_id, found.content), found.generation
        self._last = fresh  # another thread may put another network's there
        return fresh


def name_of(model_id: str) -> str:
    """The object's name."""
    return f"record_{model_id}.parquet"
