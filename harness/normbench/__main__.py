"""``python -m normbench``."""

from normbench.cli import command

if __name__ == "__main__":
    command()
