"""Who may come in: listening, connects, rates, origins, proxies, tokens and cookies."""
