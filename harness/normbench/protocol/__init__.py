"""The protocol: what a study declares before its first run, read from one TOML file."""
