"""What travels between nodes: tagged, versioned, frozen structs. A version never changes; an unknown one is ignored."""
