"""Fixtures that the fault tests share: JavaScript clients, and a MongoDB wire server."""

from support.fixtures import database, node, node_process
from support.mongo import mongo_url

__all__ = ["database", "mongo_url", "node", "node_process"]
