"""Writes the table of the risk gate's rules as Markdown: `python -m astra.risk > docs/risk.md`."""

from __future__ import annotations

import sys

from astra.risk.rules import RULES, Rule

HEAD = """\
# The risk gate

Nothing reaches the broker except through the risk gate (`astra/execution/door.py`). An order that
it denies ends in the journal as `rejected`, with one of these codes and a sentence; the others go
on. The first rule that is broken counts, from top to bottom. Sales pass where they lower the risk:
an account that has lost too much, or whose forecast is not to be trusted, may still sell.

Equity is what is managed: cash and the positions that are ours, at most `ASTRA_CAPITAL` where it is
set. A person's own positions count in no weight; his open purchases take cash. A day's loss and a
drawdown are the whole account's, in USD, held against the capital where that is less.

What should be known and is not denies a purchase: equity, its value at the last close, price, last
close, cash, the forecast's coverage. Some things may be unknown for good reasons, and then are not
held against an order: the day's return of an account that had no value at the last close, a
drawdown before a day was over, the rejects of fewer than five orders, and coverage and training of
an allocation that does not come from a model.

A day's loss, a drawdown and rejects beyond their limits also change the account's state by
themselves (`astra/breakers.py`), which stays until somebody lifts it.

The last close is that of the store's bars, the broker's own of the session before where the store
has none. Its deviation is that of the 5-minute returns within the last five sessions, times the
root of the bars since, each night counting as 49.

| Code | Held against | Settings | Sales too? | Remedy |
|---|---|---|---|---|
"""


def page() -> str:
    """The document, written from the rules themselves."""
    return HEAD + "".join(map(_row, RULES))


def _row(rule: Rule) -> str:
    settings = ", ".join(f"`ASTRA_{name.upper()}`" for name in rule.settings) or "-"
    sells = "yes" if rule.sells else "no"
    return f"| `{rule.code}` | {rule.against} | {settings} | {sells} | {rule.remedy} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
