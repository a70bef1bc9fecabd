"""The sections of the report, one module each: from tables to blocks."""
