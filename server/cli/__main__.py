"""`python -m server.cli`: the same as `callboard`."""

from server.cli import main

main()
