"""Who is here now: connections, their life, fan-out, presence, typing, automatic reading."""
