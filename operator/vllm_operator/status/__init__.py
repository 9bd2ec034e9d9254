"""Compute the status of a server. Pure functions, no I/O."""
