"""Files of spreadsheet programs, CSV and Excel, read in a separate process."""
