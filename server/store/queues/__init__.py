"""Rows that wait to be sent: webhook messages, pushes, notices. Claimed, sent elsewhere, recorded here."""
