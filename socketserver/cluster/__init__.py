"""Several nodes as one server: who is alive, who is connected where, and in which order events are announced.

The store stays truth and order; the bus is a quick wake-up that carries the payload (docs/decisions/0026). Nothing of
the running server uses this room yet.
"""
