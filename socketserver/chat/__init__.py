"""The core: domain values, rules and use cases; knows no socket, no wire shape and no driver."""
