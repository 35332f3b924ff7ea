"""A driver's app without a screen: the contract from a driver's side, for the simulated city, tests, torture and bench.

It imports nothing of the server, so that it can be copied out as an example for an app of your own.
"""
