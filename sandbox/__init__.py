"""Yahoo, Cloud Storage and Alpaca on loopback ports, around one market and its clock."""
