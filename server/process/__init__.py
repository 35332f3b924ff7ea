"""Around a node: start, the HTTP server, limits of connections, workers, logs, background tasks."""
