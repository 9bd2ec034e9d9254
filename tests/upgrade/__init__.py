"""Snapshots of released manifests: they show what an upgrade does to running servers."""
