"""Tests of L{portero.web.api_log}: levels of the log, over the API."""

from __future__ import annotations

import json
from typing import Any

from twisted.logger import LogLevel, capturedLogs, formatEvent

from portero.log_sections import LogSettings
from portero.logs.place import Place
from portero.web.api_log import MOST_SET, SECONDS
from tests.api_case import ACTOR, PLACE, READER, ApiCase
from tests.web_case import JSON

DEBUG = {"namespace": "portero.providers", "level": "debug", "for": 60}


class LogApiTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.log.write_to(Place(lambda level, lines: None, timed=True))
        self.addCleanup(self.log.stopService)

    def put(self, value: Any, *headers: str, expect: int = 200) -> Any:
        """@return: What the JSON of the answer says."""
        status, _, text = self.ask(
            f"{PLACE}/log",
            *(JSON, *headers),
            method="PUT",
            body=json.dumps(value).encode(),
        )
        self.assertEqual(status, expect, text)
        return json.loads(text)

    def test_what_is_configured(self) -> None:
        self.assertEqual(self.get("/log"), {"level": "info", "namespaces": []})
        self.log.use(LogSettings(level="warn", levels={"portero.web": "error"}), [])
        self.assertEqual(
            self.get("/log"),
            {
                "level": "warn",
                "namespaces": [
                    {"namespace": "portero.web", "level": "error", "seconds_left": None}
                ],
            },
        )

    def test_a_level_holds_for_a_while(self) -> None:
        said = {**DEBUG, "seconds_left": 60.0}
        del said["for"]
        self.assertEqual(self.put(DEBUG)["namespaces"], [said])
        self.assertTrue(self.log.levels.passes("portero.providers.openai", "debug"))
        self.clock.advance(59.5)
        self.assertEqual(self.get("/log")["namespaces"][0]["seconds_left"], 0.5)
        self.clock.advance(0.5)
        self.assertEqual(self.get("/log")["namespaces"], [])

    def test_it_takes_the_place_of_what_is_configured(self) -> None:
        self.log.use(LogSettings(levels={"portero.providers": "error"}), [])
        (found,) = self.put(DEBUG)["namespaces"]
        self.assertEqual(found["level"], "debug")

    def test_unless_more_is_said_it_is_all_of_portero_for_a_quarter_of_an_hour(
        self,
    ) -> None:
        (found,) = self.put({"level": "debug"})["namespaces"]
        self.assertEqual(found["namespace"], "portero")
        self.assertEqual(found["seconds_left"], SECONDS)

    def test_it_is_taken_back(self) -> None:
        self.put(DEBUG)
        self.assertEqual(self.put({**DEBUG, "for": 0})["namespaces"], [])

    def test_it_is_audited(self) -> None:
        self.with_users()
        with capturedLogs() as events:
            self.put(DEBUG, ACTOR)
            self.clock.advance(60)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "operator axel: log level of portero.providers: debug for 60 s",
                "log level of portero.providers: info, as configured, as its time is "
                "over",
            ],
        )
        for event in events:
            self.assertEqual(event["log_namespace"], "portero.audit")
            self.assertIs(event["log_level"], LogLevel.info)

    def test_to_look_one_may_read_and_to_set_one_may_act(self) -> None:
        self.with_users()
        self.get("/log", READER)
        self.get("/log", expect=401)
        self.detail(self.put(DEBUG, READER, expect=403), "lacks the right to act")
        self.put(DEBUG, expect=401)
        self.assertEqual(self.log.levels.set, {})

    def test_a_page_of_another_site_may_not(self) -> None:
        found = self.put(DEBUG, "Origin: http://evil.example", expect=403)
        self.detail(found, "another site")

    def test_it_takes_json_alone(self) -> None:
        status, _, _ = self.ask(
            f"{PLACE}/log", "Content-Type: text/plain", method="PUT", body=b"{}"
        )
        self.assertEqual(status, 415)

    def test_what_is_wrong_is_said(self) -> None:
        for value, status, *words in (
            ({}, 400, "level is missing", '"level": "debug"'),
            ({"level": "loud"}, 400, "must be one of", '"debug"'),
            ({**DEBUG, "for": -1}, 400, "0 at least"),
            ({**DEBUG, "for": 86401}, 400, "86400 at most"),
            ({**DEBUG, "for": "1h"}, 400, "must be a number"),
            ({**DEBUG, "namespace": "no name"}, 400, "must match"),
            ({**DEBUG, "namespace": "portero.provider"}, 404, "did you mean portero.p"),
            ({**DEBUG, "colour": "red"}, 400, "there is no argument"),
        ):
            self.detail(self.put(value, expect=status), *words)
        self.assertEqual(self.log.levels.set, {})

    def test_levels_have_a_bound(self) -> None:
        for n in range(MOST_SET):
            self.put({**DEBUG, "namespace": f"acme{n}"})
        found = self.put({**DEBUG, "namespace": "acme"}, expect=409)
        self.detail(found, "for: 0")
        self.put({**DEBUG, "namespace": "acme0", "for": 0})
        self.put({**DEBUG, "namespace": "acme"})


class ForeignLogTests(ApiCase):
    def test_where_another_logger_writes_there_is_nothing_to_set(self) -> None:
        status, _, text = self.ask(
            f"{PLACE}/log", JSON, method="PUT", body=json.dumps(DEBUG).encode()
        )
        self.assertEqual(status, 409)
        self.detail(json.loads(text), "--logger")
        self.assertEqual(self.log.levels.set, {})
