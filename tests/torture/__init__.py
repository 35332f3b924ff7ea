"""The torture: real nodes, servers and clients, faults at random, and a checker of what Callboard promises.

What is promised, what is done to it and how a run is replayed: docs/torture.md.
"""
