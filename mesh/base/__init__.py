"""What every part of the shell stands on: configuration, errors, the clock, entropy, keys, logs and counters."""
