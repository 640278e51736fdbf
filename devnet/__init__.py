"""A network on one machine: chain, cluster, simulator, scenarios and benches."""
