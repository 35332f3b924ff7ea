"""Outgoing messages besides responses and sockets: webhooks, web push, notices to ops, the log; and the monitor for
alerts.
"""
