"""Trading to an allocation: the shell around `astra.rebalance` and `astra.risk`.

`executor.py` says who may work on a delivered file, `worker.py` takes it to its end under the
lease, `door.py` is the only way to the broker, `desk.py` is what they all have at hand. `halt.py`
stops everything, `reconcile.py` holds our books against the broker's.
"""

from astra.execution.desk import Desk
from astra.execution.executor import Delivered, Executor

__all__ = ["Delivered", "Desk", "Executor"]
