"""The live board's feed: what ops see, read once a node, rendered once, and sent to everybody who watches."""
