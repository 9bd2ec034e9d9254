"""Judge and render manifests without a cluster, as the API server and the operator would."""
