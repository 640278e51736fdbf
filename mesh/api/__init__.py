"""How do programs on this machine talk to the node? One port, in process or over a unix socket."""
