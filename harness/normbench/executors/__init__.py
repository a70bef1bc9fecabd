"""Executors: where tasks run. They know nothing of training."""
