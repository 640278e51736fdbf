"""Relays of a drand beacon, over HTTP: who is asked for rounds, and who is believed."""
