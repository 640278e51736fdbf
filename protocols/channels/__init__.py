"""How are many small deals of one pair paid? One channel as a pure machine, in two halves: its client's and its provider's."""
