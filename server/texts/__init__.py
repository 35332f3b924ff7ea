"""The texts of the driver page and of the screens in their languages, and who gets which language."""
