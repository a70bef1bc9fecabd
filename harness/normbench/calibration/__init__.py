"""How a cell can be trained fastest, and what a step of it costs: measured, never guessed."""
