"""Callboard: offers each delivery to the right driver and shows ops what is happening now."""

__version__ = "0.1.0"
