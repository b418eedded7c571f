"""The vendors of bars, one file each; what they have in common is `source.py`."""
