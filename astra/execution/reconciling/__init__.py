"""Our books and the journal against the broker, which is right.

`look.py` gathers both sides, `agreement.py` says what differs in the orders, `reconcile.py` waits
for what lags, books what explains a difference, records it and halts where it is too much.
"""
