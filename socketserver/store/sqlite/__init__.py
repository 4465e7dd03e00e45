"""Messages in an SQLite file."""
