"""What the fork server does before it forks: one whole case, so that workers inherit what it took.

Imported by the server alone. Every module is loaded then, the exchange's sessions are computed and
the statements of the store compiled: seconds of each worker's life. No thread and no connection is
left open, so a fork is safe.
"""

import logging
import tempfile
from pathlib import Path

from benchmarks.chaos import forks
from benchmarks.chaos.cases import Cases
from benchmarks.chaos.house import House

__all__ = ["forks"]

logging.disable(logging.CRITICAL)
with tempfile.TemporaryDirectory() as folder, House(Path(folder)) as house:
    Cases(house).calm({"AAPL": 0.2, "JPM": 0.2}, {"BRK.B": 0.2, "JPM": 0.1})
