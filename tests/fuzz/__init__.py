"""`make fuzz`: generated manifests through parse, plan and render, and a sample of them to a real API server."""
