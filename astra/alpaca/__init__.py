"""Alpaca: the broker's account, and market data. `transport` is the only importer of alpaca-py."""

from astra.alpaca.account import Alpaca
from astra.alpaca.bars import MarketData, SymbolBars

__all__ = ["Alpaca", "MarketData", "SymbolBars"]
