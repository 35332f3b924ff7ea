"""The drivers' sockets of this node: sessions, messages, receipts and positions."""
