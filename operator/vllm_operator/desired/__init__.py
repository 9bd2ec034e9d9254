"""The desired state of a server: children, checks and values. Pure functions, no I/O."""
