"""The network: the ``Link`` seam, libp2p behind it, and how peers are found."""
