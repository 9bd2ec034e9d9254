"""One module for each command of the plugin; each has a click command with the name `command`."""
