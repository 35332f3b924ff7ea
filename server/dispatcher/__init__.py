"""What makes offers and keeps deadlines on the node with the lease, and searches for whoever asks, on any node."""
