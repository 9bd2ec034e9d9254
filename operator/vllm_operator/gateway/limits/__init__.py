"""Count requests and tokens, and answer Envoy's rate limit calls."""
