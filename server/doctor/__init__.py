"""`callboard doctor`: checks everything that a node depends on. It changes nothing without `--fix`."""
