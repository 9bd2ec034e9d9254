"""When a server is looked at: the keyed queue and its back-off."""
