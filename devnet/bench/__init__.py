"""Benches: programs that measure the figures of the targets, both sides of a ratio in one run."""
