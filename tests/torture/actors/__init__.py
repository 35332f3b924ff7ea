"""The actors: drivers, a shop, people with rights, receivers of webhooks. They speak the wire contract and no more."""
