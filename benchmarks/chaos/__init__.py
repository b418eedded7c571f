"""Kills workers, breaks the broker and the bucket, and judges what became of the account.

`points.py` says where a worker can die, `house.py` is the broker, the store and the worker that it
happens to, `plans.py` draws what goes wrong from a seed, `cases.py` lets it happen as the platform
would deliver, `judge.py` looks at the broker's own state, `mutants.py` are workers that must be
caught, `forks.py` kills real processes, `fuzz.py` offers what nobody should send.
"""
