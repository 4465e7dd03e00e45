"""What somebody without a login can throw at a server, with a bystander who chats meanwhile.

`python -m chaos.attacks` (with PYTHONPATH=.:tests) runs the catalogue and prints a table; tests/chaos/test_attacks.py
runs it shortened. Four processes take part in each attack: the server, the attacker, the bystander, and this one, which
watches the server's memory and CPU time. Everything stays on loopback and ends by itself.
"""
