"""Stopping an account: the state first, then the broker's open orders, until it confirms.

`halt.py` is what people and breakers call, `switch.py` one throw of it, `cancelling.py` what it
asks of the broker, `blind.py` the same while the database is away.
"""
