"""Makes offers and handles deadlines on the node with the lease, and searches on request, on any node."""
