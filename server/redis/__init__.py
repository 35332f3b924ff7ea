"""The published index in Redis and the hints between nodes. All of it can be lost at any moment."""
