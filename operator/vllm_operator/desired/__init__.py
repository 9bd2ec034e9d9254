"""Pure decisions: from the typed spec to the frozen values that the templates show."""
