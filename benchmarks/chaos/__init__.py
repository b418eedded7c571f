"""Kills workers, breaks the broker and the bucket, and judges what became of the account.

`points.py` says where a worker can die, `lives.py` what it is while it lives, `forks.py` kills real
processes; `house.py` is the broker that it happens to, `plans.py` draws what goes wrong from a
seed, `trial.py` lets it happen as the platform would deliver, `judge.py` looks at the broker's own
books, `mutants.py` are workers that must be caught. `function.py` and `fuzz.py` offer the real
function what nobody should send. `command.py`, `work.py` and `report.py` are `make chaos`.
"""
