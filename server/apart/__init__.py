"""Processes with limits, for files from outside."""
