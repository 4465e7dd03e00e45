"""Engine.IO 4 for aiohttp: sessions over websockets and long-polling."""
