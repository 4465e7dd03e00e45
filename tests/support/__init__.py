"""What several test modules share: servers to test, JavaScript clients to test them with, deadlines."""
