"""What leaves the server, pure: views, driver messages, webhook bodies and notices made from events and rows."""
