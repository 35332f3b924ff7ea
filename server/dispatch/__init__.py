"""The rules of dispatch, pure: no I/O, no clock, no ids made here; `now`, ids and the world are arguments."""
