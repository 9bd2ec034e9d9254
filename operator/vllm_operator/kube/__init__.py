"""Speak to the Kubernetes API server: transport, leader election, Events, and pure helpers for objects."""
