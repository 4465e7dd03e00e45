"""These tests have JavaScript clients."""

from support.fixtures import database, node, node_process

__all__ = ["database", "node", "node_process"]
