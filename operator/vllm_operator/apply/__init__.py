"""Apply the children of a server, repair drift, and prune what the spec no longer asks for."""
