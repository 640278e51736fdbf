"""What does a person type? Verbs that read, ask the node, and render; no rules."""
