"""Find causes in logs, termination messages and Events. Pure functions, no I/O."""
