"""The switch while the database does not answer: orders go, though nothing can be written down."""

from __future__ import annotations

import contextlib
import time

from astra.alpaca import Alpaca
from astra.errors import AstraError, TemporaryError
from astra.execution.halting.cancelling import cancel, cancelled, forbidden, looks
from astra.execution.halting.switch import Halted
from astra.records import Order, TradingState


def halt_without_books(
    broker: Alpaca, state: TradingState, reason: str, problem: str, seconds: float
) -> Halted:
    """Cancel what the state forbids, and look until none of it is open or `seconds` are over.

    As nobody can read a state that is not written, trading goes on once the database answers.

    Args:
        problem: why the state cannot be written.

    Raises:
        TemporaryError: the broker does not answer either.
    """
    blind = _Blind(broker, state)
    began = time.monotonic()
    for _ in looks(began, seconds):
        blind.look()
        blind.cancel()
        if blind.left == []:
            break
    if not blind.has_answered:
        raise TemporaryError(
            f"database or broker is required to halt the account, neither answers: nothing was "
            f"written and nothing cancelled, try again and look at the broker's ({problem})"
        )
    unknown = "; the broker does not tell what is open" if blind.left is None else ""
    return Halted(
        account=blind.account(),
        state=state,
        reason=reason,
        was=TradingState.ACTIVE,
        cancelled=cancelled(broker, blind.asked),
        still_open=tuple(order.client_order_id for order in blind.left or ()),
        under_way=(),
        is_confirmed=False,
        seconds=time.monotonic() - began,
        problem=f"{problem}{unknown}",
        is_written=False,
    )


class _Blind:
    """`left` is what was open at the last look that the broker answered, None before."""

    def __init__(self, broker: Alpaca, state: TradingState) -> None:
        self._broker, self._state = broker, state
        self._leaves_others = state is not TradingState.HALTED
        self.left: list[Order] | None = None
        self.asked: dict[str, Order] = {}
        self.has_answered = False

    def look(self) -> None:
        with contextlib.suppress(AstraError):
            self.left = forbidden(self._broker, self._state, self._leaves_others)
            self.asked |= {order.id: order for order in self.left}
            self.has_answered = True

    def cancel(self) -> None:
        """Everything, where that is asked for, also if nobody knows what is open."""
        with contextlib.suppress(AstraError):
            cancel(self._broker, (self.left or ()) if self._leaves_others else None)
            self.has_answered |= not self._leaves_others

    def account(self) -> str:
        with contextlib.suppress(AstraError):
            return self._broker.account().number
        return "(not told)"
