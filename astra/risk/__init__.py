"""The risk gate's rules: why an order may not leave. Pure; each refusal has a code.

What an order is held against is gathered by `astra.execution.gate`; a backtest asks the same rules
with what it knows. `python -m astra.risk` writes `docs/risk.md`.
"""

from astra.risk.losses import FLOWS, Amount, Fall, fallen, growth, placed
from astra.risk.mark import UNKNOWN, Mark, mark_of
from astra.risk.rules import RULES, Rule, denied_by_state, deny
from astra.risk.situation import UNLIMITED, Denial, Limits, Situation

__all__ = [
    "FLOWS",
    "RULES",
    "UNKNOWN",
    "UNLIMITED",
    "Amount",
    "Denial",
    "Fall",
    "Limits",
    "Mark",
    "Rule",
    "Situation",
    "denied_by_state",
    "deny",
    "fallen",
    "growth",
    "mark_of",
    "placed",
]
