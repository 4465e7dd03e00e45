"""Fixtures that the fault tests share: JavaScript clients, and a MongoDB wire server."""

from mongoserver import mongo_url
from support.fixtures import database, node, node_process

__all__ = ["database", "mongo_url", "node", "node_process"]
