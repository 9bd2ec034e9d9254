"""What a release rendered, kept, so that the next one shows what its upgrade does to running servers."""
