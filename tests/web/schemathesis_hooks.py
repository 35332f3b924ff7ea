"""For schemathesis, which loads this file by its name: what a schema cannot say of requests that are valid."""

import base64
import json
import os
from typing import Any

import schemathesis
from hypothesis import strategies as st

KNOWN: dict[str, list[str]] = json.loads(os.environ.get("CALLBOARD_KNOWN_IDS", "{}"))


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A valid image, which no schema can describe."""
schemathesis.openapi.format("binary", st.just(PIXEL))
FILES = {
    "drivers": b"name\nDan\n",
    "deliveries": b"sellerOrderId,storeName,pickup.lat,pickup.lon,dropoff.lat,dropoff.lon\n1,Roma,52,13,52.1,13\n",
}
"""Files that can be imported."""
for _kind, _file in FILES.items():
    schemathesis.openapi.format(f"file-of-{_kind}", st.just(_file))


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Ids are those in the database; only the server makes cursors; ladders rise; names are printable; places whole."""
    for item in raw_schema["paths"].values():
        for operation in item.values():
            operation["parameters"] = [given for given in operation["parameters"] if given["name"] != "cursor"]
            for given in operation["parameters"]:
                if given["name"] in KNOWN:
                    given["schema"] = {"type": "string", "enum": KNOWN[given["name"]]}
    for kind in FILES:
        file = {"schema": {"type": "string", "format": f"file-of-{kind}"}}
        raw_schema["paths"][f"/imports/{kind}"]["post"]["requestBody"]["content"] = {"application/octet-stream": file}
    sound_policy = {
        "escalation": {"maxItems": 1},
        "wideSearchRadiusKm": {"const": 100},
        "currency": {"const": "USD"},
        "language": {"enum": ["", "en", "de", "es"]},
    }
    _narrow(raw_schema["paths"]["/admin/policy"]["put"], sound_policy)
    paid = {"currency": {"const": "USD"}}  # in another currency than the policy's the pay must be said
    _narrow(raw_schema["paths"]["/deliveries"]["post"], paid)
    _narrow(raw_schema["paths"]["/deliveries/{deliveryId}"]["patch"], paid)
    # Which lists are the rings of a sound polygon no schema says.
    _narrow(raw_schema["paths"]["/admin/zones/{key}"]["put"], {"shape": {"type": "null"}, "helpedBy": {"maxItems": 0}})
    _narrow(raw_schema["paths"]["/admin/users"]["post"], {"name": {"pattern": "^[a-z]{1,20}$"}})
    # A place has both coordinates or neither.
    for action in ("arrived", "pickup", "complete", "failed", "release"):
        path = f"/drivers/{{driverId}}/assignments/{{assignmentId}}/{action}"
        number = {"type": "number"}
        _narrow(raw_schema["paths"][path]["post"], {"lat": number, "lon": number}, required=["lat", "lon"])


def _narrow(operation: dict[str, Any], properties: dict[str, Any], **more: Any) -> None:
    body = operation["requestBody"]["content"]["application/json"]
    body["schema"] = {"allOf": [body["schema"], {"properties": properties, **more}]}
