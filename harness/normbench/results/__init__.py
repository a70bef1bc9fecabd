"""Result tables: declared types, written whole or not at all, read as pandas frames."""
