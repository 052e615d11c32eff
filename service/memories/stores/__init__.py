"""Where memories are stored: in a SQLite file, or in PostgreSQL."""
