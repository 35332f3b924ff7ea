"""Authentication and permissions: tokens, API keys, sessions, login and its limits."""
