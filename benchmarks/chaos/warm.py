"""What the fork server loads before it forks: every module a worker needs, and the calendar.

Imported by the server alone. The sessions of the exchange are computed once in a process, which
takes a second; a forked worker inherits them.
"""

from astra.sessions import next_session
from benchmarks.chaos import forks
from benchmarks.chaos.house import START

__all__ = ["forks"]

next_session(START)
