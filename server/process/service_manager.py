"""Notifies systemd that the node is ready, if it started this process with `Type=notify`."""

import os
import socket


def notify_ready() -> str | None:
    """Returns why systemd could not be notified, or None."""
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
            notified.sendto(b"READY=1", "\0" + where[1:] if where.startswith("@") else where)
    except OSError as error:
        return f"systemd could not be notified: {error.strerror}"
    return None
