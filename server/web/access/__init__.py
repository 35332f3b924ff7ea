"""Who is calling: tokens, API keys, sessions, login and its limits."""
