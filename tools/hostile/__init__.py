"""Hostile tenants next to a well-behaved one, on a real API server: `make hostile`."""
