"""What one of the processes does that share the seeds: its own broker, its own folder."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Literal

from benchmarks.chaos import function, fuzz
from benchmarks.chaos.cases import Cases
from benchmarks.chaos.forks import call_forked
from benchmarks.chaos.house import House
from benchmarks.chaos.lives import call_in_process
from benchmarks.chaos.mutants import planted
from benchmarks.chaos.plans import FORKED, draw
from benchmarks.chaos.verdict import Verdict

How = Literal["aborted", "killed", "fuzzed"]
EVENTS = 20  # one fuzz input in so many is an event, and one a file that is dropped and delivered
_MEMORY = Path("/dev/shm")  # noqa: S108 - databases that nobody needs afterwards, at no disk's speed


@dataclass(slots=True)
class Result:
    """Of one batch of seeds: `verdicts`, or what fuzz inputs ended as, and what was wrong."""

    how: How
    verdicts: list[Verdict] = field(default_factory=list)
    fuzzed: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, str]] = field(default_factory=list)


def work(how: How, seeds: Sequence[int]) -> Result:
    """Run a batch."""
    if how == "fuzzed":
        with _silent_below(logging.NOTSET):  # what nobody expected is known by its log line
            return _fuzz(seeds)
    with _silent_below(logging.CRITICAL):
        return _tried(how, seeds)


def _tried(how: How, seeds: Sequence[int]) -> Result:
    found = Result(how)
    cases = _cases(how)
    for seed in seeds:
        case = draw(seed) if how == "aborted" else draw(seed, FORKED)
        verdict = cases.run(case)
        found.verdicts.append(verdict)
        found.wrong += [(seed, sentence) for sentence in verdict.wrong]
    return found


def catch(mutant: str, seeds: Sequence[int]) -> int | None:
    """The first of the seeds under which the account shows the mutant's fault, or None."""
    cases = _cases("aborted")
    with _silent_below(logging.CRITICAL):
        for seed in seeds:
            case = draw(seed, ("killed", "killed twice", "newer file"))
            cases.calm(case.held, case.weights, case.style)  # by the real code
            with planted(mutant):
                if shows(cases.run(case)):
                    return seed
    return None


@contextmanager
def _silent_below(level: int) -> Iterator[None]:
    """Logs up to `level` are dropped, and then those that were dropped before."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        yield
    finally:
        logging.disable(before)


def shows(verdict: Verdict) -> bool:
    """Whether cash or positions are wrong: another name of an order alone would hurt nobody."""
    return any(" held" in sentence or "cash" in sentence for sentence in verdict.wrong)


def _fuzz(seeds: Sequence[int]) -> Result:
    found = Result("fuzzed")
    for seed in seeds:
        try:
            found.fuzzed[_offered(seed)] += 1
        except Exception as error:  # noqa: BLE001 - any is a violation, and the others go on
            found.wrong.append((seed, f"{type(error).__name__} came out: {error}"))
    unexpected = _function().unexpected
    found.wrong += [(seeds[0], sentence) for sentence in unexpected]
    unexpected.clear()
    return found


def _offered(seed: int) -> str:
    """What became of one input: most are read, some are dropped, some are events."""
    match seed % EVENTS:
        case 0:
            status = _function().post(*fuzz.event(seed))
            kind = "an event"
        case 1:
            made = fuzz.file(seed)
            generation = _function().put(made.name, made.content, made.metadata)
            status = _function().deliver(made.name, generation)
            kind = "a dropped file"
        case _:
            return f"file: {fuzz.judged(fuzz.file(seed))}"
    if not (200 <= status < 300 or (kind == "an event" and status == 400)):
        raise RuntimeError(f"the function answered {status} to {kind}")
    return f"{kind}: {status}"


@lru_cache(maxsize=2)
def _cases(how: How) -> Cases:
    return Cases(_stack().enter_context(House(_folder(), is_at_hand=how == "aborted")), _CALLS[how])


@lru_cache(maxsize=1)
def _function() -> function.Function:
    logging.getLogger("astra").setLevel(logging.ERROR)
    return _stack().enter_context(function.opened(_folder()))


def _folder() -> Path:
    where = _MEMORY if _MEMORY.is_dir() else None
    return Path(_stack().enter_context(tempfile.TemporaryDirectory(dir=where)))


@lru_cache(maxsize=1)
def _stack() -> ExitStack:
    """What this process has opened; closed when it ends."""
    stack = ExitStack()
    Finalize(None, stack.close, exitpriority=0)  # a pool's process runs no `atexit`
    return stack


_CALLS = {"aborted": call_in_process, "killed": call_forked}
