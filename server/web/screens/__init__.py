"""Pages for people: the board, the policy, insights, users, webhooks, the driver page."""
