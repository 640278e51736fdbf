"""Everything that may be wrong with what a node is given: files, modules, messages, records, trades, endpoints."""
