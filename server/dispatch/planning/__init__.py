"""The planner, pure: what is known about drivers and deliveries, the drivers' runs, and the plan for both."""
