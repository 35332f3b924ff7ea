"""Everything that moves by itself: driver sockets, their streams, positions, and hints between nodes."""
