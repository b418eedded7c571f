"""A fresh process up to its first forecast, run by `cold.py` as `first_astra.py PANEL.npz`.

It verifies and loads the champion, then forecasts all tickers of the panel. Prints one JSON line.
"""

import datetime as dt
import json
import sys
from pathlib import Path

import numpy as np

from astra.sessions import Session
from model.forecast.record import Mark
from model.forecast.registry import shipped
from model.forecast.serving import Forecaster
from model.panel import Panel

held = np.load(sys.argv[1])
arrays = {name: held[name] for name in ("ts", "session", "slot", "open", "close")}
days = [[dt.datetime.fromtimestamp(t, dt.UTC) for t in day] for day in held["days"]]
sessions = tuple(Session(opens_at.date(), opens_at, closes_at) for opens_at, closes_at in days)
panel = Panel(tuple(held["tickers"]), **arrays, sessions=sessions)
forecast = Forecaster(shipped().load()).forecast(panel)
status = Path("/proc/self/status").read_text()  # getrusage would count the process it came from
megabytes = int(status.partition("VmHWM:")[2].split()[0]) / 1024
served = sum(mark is Mark.FORECAST for mark in forecast.marks)
print(json.dumps({"tickers": served, "megabytes": megabytes}))
