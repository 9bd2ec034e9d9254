"""Reconcile VLLMServers: the manager, its work queue, and the steps of one reconcile."""
