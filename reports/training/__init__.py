"""Tables and figures of trained networks."""
