"""What a report says, before anybody knows how it will look: words and tables of words. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its name and what it stands on; `tone` is gain, loss or nothing."""

    label: str
    value: str
    note: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column: numbers stand `right`; one that is `wide` takes the room that is left."""

    title: str
    right: bool = True
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Texts by row; `sums` rows at the end are of those before."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    sums: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: a table, sentences, or both."""

    title: str
    said: tuple[str, ...] = ()
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The report.

    Attributes:
        where: in which market it happened, and whether money was real.
        as_of: the last record, in New York and in UTC; `clock` how the other times are meant.
        needs: what somebody should look at, the gravest first; `calm` what is said if it is empty.
        chart: the chart in words; "" where there is none, `chart_missing` then says why.
    """

    title: str
    where: str
    as_of: str
    clock: str
    figures: tuple[Figure, ...]
    needs: tuple[str, ...]
    calm: str
    chart: str
    chart_missing: str
    profit: Section
    decisions: Section
    orders: Section
    positions: Section
    sectors: Section
    forecasts: Section
    twin: Section
    watch: Section
    foot: str
