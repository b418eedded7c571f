"""Our books and the journal against the broker, which is right.

`look.py` gathers both sides, `agreement.py` says what differs in the orders. `reconcile.py` waits
for what lags, has `booking.py` book what explains a difference, corrects the journal, records what
is left and halts where it is too much.
"""
