"""Trading to an allocation: the shell around `astra.rebalance` and `astra.risk`.

`executor.py` says who may work on a delivered file, `worker.py` takes it to its end under the
lease: `admission.py` says whether it may be traded, `phase.py` sends its sells, then its buys,
`line.py` tells what a name still needs, `watch.py` notes what the broker does with the orders.
`door.py` is the only way to the broker, `desk.py` is what they all have at hand, `halt.py` stops
everything, and `reconcile.py` holds our books against the broker's.
"""

from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor

__all__ = ["Delivered", "Desk", "Executor"]
