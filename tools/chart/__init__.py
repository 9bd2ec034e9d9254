"""Generate the parts of the Helm charts that other sources define, and render charts for tests."""
