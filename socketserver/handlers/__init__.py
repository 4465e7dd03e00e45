"""Answers: thin handlers that turn events and requests into use cases."""
