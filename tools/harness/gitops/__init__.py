"""The real Argo CD as processes next to a cluster, and a Git repository for it."""
