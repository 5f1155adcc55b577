"""A call as other programs get it."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from portero.records.document import document
from portero.records.past import discreet
from tests.kept_calls import ID, past


class DocumentTests(SynchronousTestCase):
    def test_all_that_is_kept_is_there(self) -> None:
        kept = past(recording="a.wav", consent="asked", host="bell")
        found = document(kept)
        self.assertEqual(json.loads(json.dumps(found)), found)
        call = found["call"]
        self.assertEqual((call["id"], call["host"], call["turns"]), (ID, "bell", 2))
        self.assertEqual((call["recording"], call["consent"]), ("a.wav", "asked"))
        self.assertEqual(
            [(one["at"], one["role"], one["text"]) for one in found["said"]],
            [
                (1.0, "assistant", "Good day, Acme."),
                (5.1, "user", "A table at the café, please"),
            ],
        )
        (turn,) = found["turns"]
        self.assertEqual((turn["at"], turn["sounded_ms"]), (5.6, 560))
        self.assertEqual(
            found["tools"],
            [
                {
                    "at": 6.0,
                    "name": "book",
                    "arguments": 'who="Juan"',
                    "result": "2",
                    "ok": True,
                    "ms": 9,
                },
                {"at": 6.5, "name": "mail", "arguments": ""},
            ],
        )
        kinds = {one["kind"] for one in found["happened"]}
        own = {"said", "turn", "tool_began", "tool_ended"}
        self.assertEqual(kinds & own, set())
        self.assertIn("barge_in", kinds)
        self.assertEqual(found["figures"]["underruns"], 3)

    def test_what_is_not_kept_is_not_there(self) -> None:
        kept = discreet(past(), keep_words=False, whole_numbers=False)
        text = json.dumps(document(kept), ensure_ascii=False)
        for word in ("café", "Acme", "Juan", "600123", "María"):
            self.assertNotIn(word, text)
        self.assertEqual(document(kept)["said"], [])
        self.assertEqual(document(kept)["tools"][0]["name"], "book")
