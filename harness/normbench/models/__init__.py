"""Models, each one declarative list of layers, and the builders that read it."""
