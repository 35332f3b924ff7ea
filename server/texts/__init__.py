"""The texts of the driver page in its languages, and which of them a phone gets."""
