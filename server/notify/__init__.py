"""What goes out beside answers and sockets: webhooks, web push, notices to ops, the log; and the watch for alerts."""
