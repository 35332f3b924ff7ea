"""The drivers' sockets of this node: sessions, what is written to them, receipts and positions."""
