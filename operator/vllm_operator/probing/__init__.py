"""Probe the replicas over HTTP, and detect stalled engines.

`ProbeManager` is the entrance; the parts of one replica's state, with the one writer of each, stand in `replica`.
"""
