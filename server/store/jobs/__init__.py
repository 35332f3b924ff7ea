"""Jobs on old rows: retention, erasing personal data, and daily counts."""
