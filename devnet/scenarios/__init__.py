"""Which stories must a network survive? One script each, run on real processes and in the simulator."""
