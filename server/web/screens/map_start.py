"""Where a map of a screen begins that has nothing to show."""

from server.store.query import database_errors
from server.store.reads.whereabouts import read_middle
from server.web.http.caller import Call
from server.web.http.current_node import pool_of


async def map_start(request: Call) -> str:
    """Latitude and longitude, or nothing: then the map shows the world. Raises 503."""
    with database_errors():
        middle = await read_middle(pool_of(request))
    return "" if middle is None else f"{middle[0]}, {middle[1]}"
