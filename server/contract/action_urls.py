"""Links of tickets in JSON that was stored before it is sent: they get the path of the public URL."""

import re
from typing import Final

LINK: Final = re.compile(r'("actionUrl": ?")(?=/)')
"""Only a field can look so: in a text, the quotes are escaped."""


def with_root(text: str, root: str) -> str:
    """JSON in which links to pages of Callboard begin with `root`."""
    return LINK.sub(rf"\g<1>{root}", text) if root else text
