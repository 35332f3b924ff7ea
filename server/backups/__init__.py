"""Backups: everything that Callboard needs to go on, in one file, and back from it."""
