"""The planner, pure: what is known about drivers and deliveries, and the plan for both."""
