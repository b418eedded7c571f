"""What the hot paths cost, measured beside what they replace: `python -m benchmarks`."""
