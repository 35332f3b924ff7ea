"""The checklist of a new installation: its steps check themselves, and do the thing or lead to where it is done.

It is a separate screen, and above a board that never had an order. After that, the board names the steps that are open.
The order of the steps is in `steps`; each is a function of a module about what it is for. What a form of a step sends
comes to `screen`.
"""
