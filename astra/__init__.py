"""The shared library: pure rules first, then one file per vendor and the shells around them."""

__version__ = "0.1.0"
