"""A city of drivers and orders on real websockets, for the demo, for load and to replay real days.

It knows the server by its contract alone, and imports nothing of its insides.
"""
