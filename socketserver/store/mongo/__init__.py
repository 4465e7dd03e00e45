"""Messages in MongoDB, through motor."""
