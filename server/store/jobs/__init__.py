"""Jobs on old rows: retention, and daily counts."""
