"""The contract with clients: events, payloads, shapes, acks; over sockets and HTTP."""
