"""The promises, a module for those of one kind. Each check is a function of the evidence alone."""
