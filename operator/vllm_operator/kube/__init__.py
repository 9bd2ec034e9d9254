"""Everything that talks to the API server: session, caches, apply and prune, references, status, events."""
