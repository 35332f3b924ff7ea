"""What faces the network: the driver's socket, the HTTP API, the pages."""
