"""What is so: the status of a server, computed by pure functions from what was observed."""
