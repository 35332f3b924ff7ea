"""Uploaded images, decoded and encoded anew in a separate process."""
