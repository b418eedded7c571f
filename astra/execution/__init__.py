"""Trading to an allocation: the shell around `astra.rebalance` and `astra.risk`.

An order's way: `executor.py` says who may work on a delivered file, `worker.py` takes it to its end
under the lease. `admission.py` says whether it may be traded, `planning.py` makes its plan from
what `holdings.py` gathers, `writing.py` puts it into the journal, `phase.py` sends its sells, then
its buys, as long as `phase_clock.py` gives them, `parent_order.py` tells what a name still needs,
`watch.py` notes what the broker does with the orders, `waiting.py` says how long to wait between
two looks. `resuming.py` goes on with what is half done.

`door.py` is the only way to the broker: `gate.py` gathers what the risk rules ask, from `marks.py`
(prices), `figures.py` (losses and orders of the day) and `pro_forma.py` (the account once all is
filled). `desk.py` is what they all have at hand.

`halting/` stops everything, `reconciling/` holds our books against the broker's.
"""

from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor

__all__ = ["Delivered", "Desk", "Executor"]
