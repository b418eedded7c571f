"""Stopping an account: the state first, then the broker's open orders, until it confirms.

`halt.py` stops it, `lift.py` lets it go on, `trip.py` asks the breakers whether to stop it. A halt
is one throw of `switch.py`; `cancelling.py` is what that asks of the broker, `blind.py` the same
while the database is away.
"""
