"""PostgreSQL: the schema, the connections, and loading and saving what dispatch decides."""
