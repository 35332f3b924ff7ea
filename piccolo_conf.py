"""For the `piccolo` command line: `CALLBOARD_DATABASE_URL=… piccolo migrations check`. The server does not use it."""

import os

from piccolo.conf.apps import AppRegistry

from server.store.engine import Database

DB = Database(os.environ.get("CALLBOARD_DATABASE_URL", ""))
APP_REGISTRY = AppRegistry(apps=["server.store.piccolo_app"])
