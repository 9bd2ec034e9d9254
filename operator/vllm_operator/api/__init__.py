"""The custom resource: typed spec and status, names, labels and the generated CRD. No I/O."""
