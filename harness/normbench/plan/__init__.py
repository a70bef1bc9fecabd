"""The plan: every run that a protocol asks for, with its identity and its random streams."""
