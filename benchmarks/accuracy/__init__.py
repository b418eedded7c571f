"""N-BEATS on public competitions: the proof that network and training are what they say."""
