"""PostgreSQL and Valkey from Python packages and a kept secret, for demos and single machines."""
