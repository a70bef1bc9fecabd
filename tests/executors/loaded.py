"""A module that a server of workers is told to load; nothing else imports it."""
