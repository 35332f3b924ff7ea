"""A real day in virtual time: the planner and the rules of dispatch, with simulated couriers."""
