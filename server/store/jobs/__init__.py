"""Work on old rows while nobody waits for it: retention, and days counted once."""
