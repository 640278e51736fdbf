"""Does a deal end well whichever durable step a node dies at? With the shipped store under the simulated nodes."""

from devnet.sim.restarts import node_restarts


def test_every_step_of_each_role() -> None:
    """Found once: a provider that came back with a committed deal did not start it, for it did not know its slots yet."""
    told = node_restarts(7, quick=False)
    assert told["problems"] == []
    assert told["deaths"] == 2 * sum(told["steps"].values())
    assert min(told["steps"].values()) >= 5  # a deal has at least that many moments to die in
