"""Build the configuration of Envoy from a snapshot. Pure."""
