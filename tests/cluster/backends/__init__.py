"""The three kinds of cluster: one that is built here, one by kind, and one that is there already."""
