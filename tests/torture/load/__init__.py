"""Many drivers at once: what connecting, losing a node, a day's orders in one burst and hours of churn do to nodes."""
