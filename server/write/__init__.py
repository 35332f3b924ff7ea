"""The one write path: commands in, one transaction, answers and news out after the commit."""
