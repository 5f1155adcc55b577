"""The API over its own HTTP; each answer is held against the document it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from portero.config import Config
from portero.lag import ReactorLag
from portero.logs.log import Log
from portero.observers import house
from portero.observers.house import House
from portero.observers.story import Story
from portero.pacing import MediaClock
from portero.records.archive import Archive, Sound
from portero.sections import AgentSettings
from portero.tool_sections import TargetSettings
from portero.transports.browser import Transport
from portero.web import api_v1
from portero.web.passwords import token_hash
from portero.web.problem import KIND
from portero.web_sections import UserSettings
from tests.web_case import HOST, WebCase

PLACE = "/api/v1"
CONFIG = Config(
    agents={"default": AgentSettings(), "door": AgentSettings(language="es")},
    targets={
        "sales": TargetSettings("from-internal,200,1", "Sales, for new orders"),
        "night": TargetSettings("from-internal,201,1", hours="sun 03:00-03:01"),
    },
)
GONE = Failure(ConnectionDone())
READER = "Authorization: Bearer r"
ACTOR = "Authorization: Bearer a"
LISTENER = "Authorization: Bearer l"
USERS = {
    "rita": UserSettings(token=token_hash("r"), rights=("read",)),
    "axel": UserSettings(token=token_hash("a"), rights=("read", "act")),
    "lisa": UserSettings(token=token_hash("l"), rights=("listen",)),
}


class NoSound:
    """There are no recordings."""

    folder = "/nonexistent"

    def name_of(self, call_id: str) -> str:
        return ""


class ApiCase(WebCase):
    """Whoever asks is on this machine, unless there are users."""

    def setUp(self) -> None:
        super().setUp()
        self.bridge.max_calls = 1000
        # The memory of this process changes from one look to the next.
        self.patch(house, "resident_bytes", lambda: 50_000_000)
        self.bridge.roster = self.roster(CONFIG)
        self.lags = ReactorLag(self.clock)
        self.log = Log(self.clock)
        self.story = Story()
        self.house = House(self.bridge, self.lags)
        self.archive = self.make_archive(NoSound())
        for observer in (self.story, self.archive, self.house):
            self.bridge.watchers.add(observer)
        self.site = self.make_api()

    def make_archive(self, sound: Sound) -> Archive:
        return Archive(self.bridge.ended, self.story, self.threads, None, sound)

    def make_api(
        self, users: Mapping[str, UserSettings] | None = None, token: str = ""
    ) -> Any:
        site = self.make_site(token, users)
        talk = Transport(self.clock, MediaClock(self.clock)).resource(
            self.bridge.accept, self.bridge.announce
        )
        api = api_v1.make(
            *(self.bridge, self.access, self.house, self.story, self.archive),
            *(talk, self.log, self.clock, self.threads),
        )
        for name, leaf in self.root.children[b"api"].children[b"v1"].children.items():
            api.putChild(name, leaf)  # the login
        for name in (b"register", b"next"):
            api.putChild(name, self.root.children[name])
        self.root.hang("api/v1", api)
        return site

    def with_users(self) -> None:
        """From now on, nobody may do anything without a name."""
        self.site = self.make_api(USERS)

    def ask(
        self, path: str, *headers: str, method: str = "GET", **more: Any
    ) -> tuple[int, dict[str, str], str]:
        status, fields, text = super().ask(path, *headers, method=method, **more)
        if path.startswith(PLACE):
            self.check(path, method, status, fields, text)
        return status, fields, text

    def get(self, path: str, *headers: str, expect: int = 200) -> Any:
        """@return: What the JSON of an answer says."""
        status, _, text = self.ask(PLACE + path, *headers)
        self.assertEqual(status, expect, text)
        return json.loads(text)

    def post(self, path: str, value: Any, *headers: str, expect: int = 202) -> Any:
        """@return: What the JSON of the answer says."""
        status, _, found = self.send(PLACE + path, value, *headers)
        self.assertEqual(status, expect, found)
        return found

    def detail(self, problem: Mapping[str, Any], *words: str) -> None:
        """A problem says these words."""
        for word in words:
            self.assertIn(word, problem["detail"])

    def stream(self, path: str, *headers: str) -> tuple[Any, StringTransport]:
        """@return: The protocol, and the transport that an answer is written to."""
        protocol, transport = self.connect()
        lines = [f"GET {PLACE}{path} HTTP/1.1", HOST, *headers]
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode())
        self.addCleanup(protocol.connectionLost, GONE)
        return protocol, transport

    # Against the document

    def document(self) -> dict[str, Any]:
        _, _, text = super().ask(f"{PLACE}/openapi.json")
        found: dict[str, Any] = json.loads(text)
        return found

    def check(
        self, path: str, method: str, status: int, fields: Mapping[str, str], text: str
    ) -> None:
        """An answer is one of those that the document has."""
        kind = fields.get("content-type", "")
        about = self.operation(path, method)
        if about is None:
            self.assertIn(status, (400, 401, 403, 404, 405, 415), (method, path))
            self.assertEqual(kind, KIND)
            self.fits({"$ref": "#/components/schemas/Problem"}, json.loads(text))
            return
        found = about["responses"].get(str(status), about["responses"]["default"])
        if "$ref" in found:
            found = self.document()["components"]["responses"]["Problem"]
        content = found.get("content", {})
        if not content:
            self.assertEqual(text, "")
            return
        self.assertIn(kind, content, (method, path, status))
        if "json" in kind and method != "HEAD":
            self.fits(content[kind]["schema"], json.loads(text))

    def operation(self, path: str, method: str) -> dict[str, Any] | None:
        """@return: What the document says of a method on a path; or nothing."""
        parts = path.partition("?")[0].removeprefix(PLACE).strip("/").split("/")
        paths = self.document()["paths"]
        named = "/" + "/".join(parts)
        if named not in paths:
            named = "/" + "/".join([parts[0], "{id}", *parts[2:]])
        found: dict[str, Any] | None = paths.get(named, {}).get(
            "get" if method == "HEAD" else method.lower()
        )
        return found

    def fits(self, schema: Mapping[str, Any], value: Any) -> None:
        """@param schema: Of the document; it may refer to others."""
        components = strict(json.dumps(self.document()["components"]))
        whole = {**schema, "components": components}
        errors = [*Draft202012Validator(whole).iter_errors(value)]
        said = [f"{error.json_path}: {error.message[:300]}" for error in errors]
        self.assertEqual(said, [])


@cache
def strict(components: str) -> Any:
    """@return: The same, with nothing in a shape that it does not name."""
    found = json.loads(components)
    parts = found["schemas"].pop("Found")["allOf"]
    known = found["schemas"]["Ended"]
    found["schemas"]["Found"] = {
        **known,
        "properties": {**known["properties"], **parts[1]["properties"]},
        "required": [*known["required"], *parts[1]["required"]],
    }
    _close(found)
    return found


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)
