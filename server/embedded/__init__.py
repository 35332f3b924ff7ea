"""PostgreSQL and Valkey out of wheels, for a first look and for one machine."""
