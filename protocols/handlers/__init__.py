"""The handlers of `protocols.node`, by whom they serve: client, provider, the wire, the chain and the deals."""
