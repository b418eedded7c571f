"""Forecasts, portfolios and backtests; `main.py` is the Flask service that decides."""
