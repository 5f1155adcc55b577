"""The conversation with OpenAI Realtime: event by event, and over real sockets."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.tcp import Client as TCPClient
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from portero import audio
from portero.errors import ConfigError
from portero.interfaces import (
    Brief,
    IConversation,
    IConversationEvents,
    IVoiceProvider,
    IWireProvider,
    Loss,
    Said,
    Transcription,
    Truncation,
    TurnDetection,
)
from portero.prompts import WORDS
from portero.providers._health import PROBLEM_COUNTS
from portero.providers._inbox import MOST_BAD_EVENTS
from portero.providers._replies import ANSWERED_WITHIN, MOST_REFUSED, Replies
from portero.providers._session import reasons as can_reason
from portero.providers._uplink import MOST_UNSENT
from portero.providers._websocket import Ending, Socket
from portero.providers.openai import MOST_TARGETS, Conversation, Provider
from portero.sections import ProviderSettings
from portero.simulator import Connection, Knobs, Simulator
from portero.simulator.persona import tone
from portero.wire import openai as wire
from portero.wire import openai_errors as errors

clock: Any = reactor  # it provides more interfaces than its type says

CALL_ID = "11111111-2222-3333-4444-555555555555"
QUICK = Knobs(first_delta_s=0.0, speed=200.0)


def said(logs: Sequence[Any]) -> list[Any]:
    """@return: Those events that are logged unless more is asked for."""
    return [event for event in logs if event["log_level"] is not LogLevel.debug]


class HangUp:
    """As much of a tool as the service is told."""

    name = "hang_up"
    description = "End the call."
    parameters: ClassVar[dict[str, object]] = {"type": "object", "properties": {}}


MODEL = "gpt-realtime-2.1"
BRIEF = Brief(CALL_ID, "You answer the telephone.", model=MODEL, tools=(HangUp(),))


@implementer(IConversationEvents)
class Listener:
    """Keeps what a conversation tells, and waits for it."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.audio: dict[str, bytes] = {}
        self.speech = self.written = ""
        """What came with the last C{caller_started}, and with C{reply_ended}."""
        self.words: list[tuple[str, str]] = []
        self.agent_text: list[tuple[str, str]] = []
        self.over = False
        self.late: list[tuple[Any, ...]] = []
        self.do: Callable[[str], None] = lambda name: None
        self._waiting: list[tuple[str, Deferred[tuple[Any, ...]]]] = []
        self._taken = 0

    def _tell(self, *event: Any) -> None:
        (self.late if self.over else self.told).append(event)
        if event[0] == "lost":
            self.over = True
        self._look()
        self.do(event[0])

    def _look(self) -> None:
        while self._waiting and self._taken < len(self.told):
            event = self.told[self._taken]
            self._taken += 1
            if event[0] == self._waiting[0][0]:
                self._waiting.pop(0)[1].callback(event)

    def until(self, name: str) -> Deferred[tuple[Any, ...]]:
        """@return: Fires with the next event of this name."""
        found: Deferred[tuple[Any, ...]] = Deferred()
        found.addTimeout(8, clock)
        self._waiting.append((name, found))
        self._look()
        return found

    def names(self) -> list[str]:
        return [event[0] for event in self.told]

    def ready(self) -> None:
        self._tell("ready")

    def agent_audio(self, item: str, pcm: bytes) -> None:
        self.audio[item] = self.audio.get(item, b"") + pcm
        self._tell("agent_audio", item, len(pcm))

    def agent_done(self, item: str) -> None:
        self._tell("agent_done", item)

    def reply_ended(self, item_count: int, problem: str, written: str = "") -> None:
        self.written = written
        self._tell("reply_ended", item_count, problem)

    def caller_started(self, item: str = "") -> None:
        self.speech = item
        self._tell("caller_started")

    def caller_stopped(self) -> None:
        self._tell("caller_stopped")

    def caller_idle(self) -> None:
        self._tell("caller_idle")

    def caller_words(self, text: str, item: str) -> None:
        self.words.append((text, item))

    def agent_words(self, text: str, item: str) -> None:
        self.agent_text.append((text, item))

    def transcript(self, role: str, text: str, item: str) -> None:
        self._tell("transcript", role, text, item)

    def tool_called(self, id: str, name: str, arguments: Mapping[str, Any]) -> None:
        self._tell("tool_called", id, name, arguments)

    def usage(self, counts: Mapping[str, int]) -> None:
        self._tell("usage", counts)

    def lost(self, loss: Loss) -> None:
        self._tell("lost", loss)


class Line(Socket):
    """A socket that leads nowhere and keeps what was sent."""

    def __init__(self) -> None:
        self.date = 0.0
        self.sent: list[dict[str, Any]] = []
        self.closed = False

    def send(self, payload: bytes) -> None:
        self.sent.append(json.loads(payload))

    def close(self) -> None:
        self.closed = True

    def take(self) -> list[dict[str, Any]]:
        """@return: What was sent since, without event ids."""
        taken, self.sent = self.sent, []
        return [{k: v for k, v in e.items() if k != "event_id"} for e in taken]

    def types(self) -> list[str]:
        return [event["type"] for event in self.take()]


class Offline(Provider):
    """Gives conversations a L{Line}."""

    def connect(self, conversation: Conversation) -> Socket:
        return Line()


CREATE = {"type": "response.create"}


def delta(data: bytes, item: str = "item_1", response: str = "resp_1") -> Any:
    return {
        "type": "response.output_audio.delta",
        "response_id": response,
        "item_id": item,
        "delta": b64encode(data).decode(),
    }


def words(text: str, item: str = "item_1", response: str = "resp_1") -> Any:
    return {
        "type": "response.output_audio_transcript.delta",
        "response_id": response,
        "item_id": item,
        "delta": text,
    }


def created(response: str = "resp_1") -> dict[str, Any]:
    return {"type": "response.created", "response": {"id": response}}


def done(response: str = "resp_1", status: str = "completed", **more: Any) -> Any:
    return {
        "type": "response.done",
        "response": {"id": response, "status": status, **more},
    }


def failed(code: str) -> Any:
    error = {"type": code, "code": code, "message": "Words."}
    return done(status="failed", status_details={"error": error})


def called(call_id: str, response: str = "resp_1", **more: Any) -> dict[str, Any]:
    item = {
        "type": "function_call",
        "id": "item_f",
        "status": "completed",
        "call_id": call_id,
        "name": "hang_up",
        "arguments": '{"why": "bye"}',
        **more,
    }
    return {"type": "response.output_item.done", "response_id": response, "item": item}


def transcribed(usage: object) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": "item_c", "transcript": "Hello.", "usage": usage}


def error(code: str, event_id: str | None = None, message: str = "Words.") -> Any:
    body = {"type": "invalid_request_error", "code": code, "message": message}
    return {"type": "error", "error": {**body, "event_id": event_id}}


def session(input: str, output: str) -> dict[str, Any]:
    formats = {"input": {"format": {"type": input}}}
    formats["output"] = {"format": {"type": output}}
    return {"type": "session.updated", "session": {"audio": formats}}


class OfflineCase(SynchronousTestCase):
    """One conversation whose service is the test."""

    def setUp(self) -> None:
        self.start()

    def start(self, brief: Brief = BRIEF, **changes: Any) -> None:
        self.clock = Clock()
        self.listener = Listener()
        self.provider = Offline(self.clock, ProviderSettings(**changes), "sk-key")
        self.talk = self.provider.converse(brief, self.listener)
        line = self.talk._socket
        assert isinstance(line, Line)
        self.line = line

    def come(self, *events: Any) -> None:
        for event in events:
            payload = event if isinstance(event, bytes) else json.dumps(event).encode()
            self.talk.received(payload, False)

    def make_ready(self, caller_rate: int = 8000, agent_rate: int = 8000) -> None:
        self.talk.begin(caller_rate, agent_rate)
        self.talk.opened()
        self.come({"type": "session.created", "session": {}})
        self.come({"type": "session.updated", "session": {}})
        self.line.take()

    def loss(self) -> Loss:
        name, loss = self.listener.told[-1]
        self.assertEqual(name, "lost")
        assert isinstance(loss, Loss)
        return loss

    def last_id(self) -> str:
        return str(self.line.sent[-1]["event_id"])


class WayTests(SynchronousTestCase):
    def test_another_may_stand_between_a_conversation_and_the_service(self) -> None:
        made: list[Any] = []

        def way(user: Any, connect: Callable[[Any], Any]) -> Any:
            made.append(user)
            return "between", connect("me")

        world, its_own = Clock(), Clock()
        provider = Provider(world, ProviderSettings(), "sk-key")
        beyond = provider.by_way_of(world, lambda user, connect: ("beyond", user))
        one = beyond.by_way_of(its_own, way)
        talk = one.converse(BRIEF, Listener())
        self.assertEqual(talk._socket, ("between", ("beyond", "me")))
        self.assertEqual(made, [talk])
        self.assertIs(one.state, provider.state)
        its_own.advance(5)
        self.assertEqual(talk.expires_in, float("inf"))
        self.assertIs(talk._clock, its_own)


class SessionTests(OfflineCase):
    def test_what_is_provided_is_what_the_interfaces_say(self) -> None:
        verifyClass(IVoiceProvider, Provider)
        verifyClass(IWireProvider, Provider)
        verifyObject(IVoiceProvider, self.provider)
        verifyClass(IConversation, Conversation)
        verifyObject(IConversation, self.talk)
        verifyObject(IConversationEvents, self.listener)

    def test_a_handshake_lasts_until_ready_without_the_wait_for_the_leg(self) -> None:
        self.assertEqual(self.provider.report().service, "api.openai.com")
        self.clock.advance(0.1)
        self.come({"type": "session.created", "session": {}})
        self.clock.advance(2.0)
        self.talk.begin(8000, 8000)
        self.clock.advance(0.05)
        self.assertIsNone(self.provider.report().handshake_ms)
        self.come({"type": "session.updated", "session": {}})
        self.assertEqual(self.provider.report().handshake_ms, 150)

    def test_a_handshake_with_a_leg_that_is_there_is_all_the_service_s(self) -> None:
        self.talk.begin(8000, 8000)
        self.clock.advance(0.1)
        self.come({"type": "session.created", "session": {}})
        self.clock.advance(0.05)
        self.come({"type": "session.created", "session": {}})
        self.come({"type": "session.updated", "session": {}})
        self.assertEqual(self.provider.report().handshake_ms, 150)

    def test_formats_follow_the_setting_and_the_leg(self) -> None:
        for setting, caller, agent, formats, rates in (
            ("auto", 8000, 8000, (wire.PCMU, wire.PCMU), (8000, 8000)),
            ("auto", 8000, 24000, (wire.PCMU, wire.PCM), (8000, 24000)),
            ("auto", 16000, 16000, (wire.PCM, wire.PCM), (24000, 24000)),
            ("pcm", 8000, 8000, (wire.PCM, wire.PCM), (24000, 24000)),
            ("pcmu", 24000, 24000, (wire.PCMU, wire.PCMU), (8000, 8000)),
            ("pcma", 8000, 8000, (wire.PCMA, wire.PCMA), (8000, 8000)),
        ):
            self.start(audio_format=setting)
            self.talk.begin(caller, agent)
            self.come({"type": "session.created", "session": {}})
            [update] = self.line.take()
            both = update["session"]["audio"]
            asked = tuple(both[way]["format"]["type"] for way in ("input", "output"))
            self.assertEqual(asked, formats)
            self.assertEqual((self.talk.caller_rate, self.talk.agent_rate), rates)

    def test_the_update_waits_for_the_rates_and_for_the_service(self) -> None:
        self.come({"type": "session.created", "session": {}})
        self.assertEqual(self.line.types(), [])
        self.talk.begin(8000, 8000)
        self.assertEqual(self.line.types(), ["session.update"])
        self.come({"type": "session.created", "session": {}})
        self.assertEqual(self.line.types(), [])

    def test_a_second_session_updated_changes_nothing(self) -> None:
        self.come({"type": "session.updated", "session": {}})
        self.make_ready()
        self.come(session(wire.PCMU, wire.PCMU))
        self.assertEqual(self.listener.names(), ["ready"])

    def test_history_is_told_before_anything_is_asked(self) -> None:
        history = (Said("user", "Hello"), Said("assistant", "Good \ud800day"))
        self.start(replace(BRIEF, history=history))
        self.talk.ask()
        self.talk.begin(8000, 8000)
        self.come({"type": "session.created", "session": {}})
        self.come({"type": "session.updated", "session": {}})
        sent = self.line.take()
        self.assertEqual(
            [event["type"] for event in sent],
            ["session.update", *2 * ["conversation.item.create"], "response.create"],
        )
        self.assertEqual(sent[2]["item"]["content"][0]["type"], "output_text")

    def test_a_text_of_the_history_that_was_not_heard_in_full_is_said_anew(
        self,
    ) -> None:
        history = (Said("assistant", "Good day, Ana."), Said("assistant", "Well?"))
        self.start(replace(BRIEF, history=history))
        self.make_ready()
        self.talk.amend("Good day, Ana.", "Good…")
        self.talk.amend("Good day, Ana.", "Go…")
        self.talk.amend("Well?", "")
        self.talk.amend("Nothing of the kind.", "")
        sent = self.line.take()
        self.assertEqual(
            [event["type"].rpartition(".")[2] for event in sent],
            ["delete", "create", "delete"],
        )
        self.assertEqual(sent[1]["item"]["content"][0]["text"], "Good…")
        self.assertNotEqual(sent[0]["item_id"], sent[2]["item_id"])

    def test_before_it_is_ready_it_is_told_only_what_was_heard(self) -> None:
        history = (Said("assistant", "Good day."), Said("assistant", "Well?"))
        self.start(replace(BRIEF, history=history))
        self.talk.amend("Good day.", "Good…")
        self.talk.amend("Well?", "")
        self.talk.begin(8000, 8000)
        self.come({"type": "session.created", "session": {}})
        self.come({"type": "session.updated", "session": {}})
        _, told = self.line.take()
        self.assertEqual(told["item"]["content"][0]["text"], "Good…")

    def test_other_formats_of_the_service_are_used_and_warned_of(self) -> None:
        self.talk.begin(8000, 8000)
        self.talk.send_audio(bytes(3200))
        self.come({"type": "session.created", "session": {}})
        with capturedLogs() as logs:
            self.come(session(wire.PCM, wire.PCMA))
        self.assertEqual([e["log_level"] for e in said(logs)], [LogLevel.warn])
        self.assertEqual((self.talk.caller_rate, self.talk.agent_rate), (24000, 8000))
        self.line.take()
        self.talk.send_audio(bytes(2000))
        [append] = self.line.take()
        self.assertEqual(b64decode(append["audio"]), bytes(2000))

    def test_formats_that_nobody_speaks_end_it_for_good(self) -> None:
        self.talk.begin(8000, 8000)
        self.come({"type": "session.created", "session": {}})
        self.come(session("audio/opus", wire.PCMU))
        self.assertTrue(self.loss().final)
        self.assertIn("audio/opus", self.loss().reason)

    def test_the_service_s_own_clock_counts_for_expiry(self) -> None:
        self.line.date = 5_000.0
        self.talk.begin(8000, 8000)
        self.assertEqual(self.talk.expires_in, float("inf"))
        self.come({"type": "session.created", "session": {"expires_at": 8_600}})
        self.clock.advance(100)
        self.assertEqual(self.talk.expires_in, 3500)

    def test_a_date_in_the_past_is_no_expiry(self) -> None:
        self.talk.begin(8000, 8000)
        self.come({"type": "session.created", "session": {"expires_at": 8_600}})
        self.assertEqual(self.talk.expires_in, float("inf"))

    def test_a_certificate_file_that_is_none_is_found_at_the_start(self) -> None:
        broken = ProviderSettings(ca_file=self.mktemp())
        self.assertRaises(ConfigError, Provider, Clock(), broken, "key")


class ServiceTests(SynchronousTestCase):
    """Who answers, and where."""

    def make(self, url: str = "wss://api.openai.com/v1/realtime", **more: Any) -> Any:
        return Provider(Clock(), ProviderSettings(url=url), "sk-key", **more)

    def test_who_answers_is_the_model_at_the_host(self) -> None:
        self.assertEqual(self.make().describe("m-1"), "m-1 at api.openai.com")
        demo = self.make("ws://127.0.0.1:1/x", summary="the demo agent")
        self.assertEqual(demo.describe("m-1"), "the demo agent")

    def test_the_address_names_the_model(self) -> None:
        made = self.make()
        target = made._target("gpt realtime&2")
        self.assertEqual(
            target.url, "wss://api.openai.com/v1/realtime?model=gpt+realtime%262"
        )
        self.assertEqual(target.headers, {"Authorization": "Bearer sk-key"})

    def test_a_query_of_the_operator_s_stays_as_it_is(self) -> None:
        url = "wss://example.org/v1/realtime?api-version=1&deployment=d"
        self.assertEqual(self.make(url)._target("m-1").url, url)

    def test_addresses_in_use_are_kept_and_the_others_forgotten(self) -> None:
        made = self.make()
        used = made._target("in use")
        first = made._target("0")
        for number in range(3 * MOST_TARGETS):
            made._target(str(number))
            self.assertIs(made._target("in use"), used)
            self.assertLessEqual(len(made._targets), MOST_TARGETS)
        self.assertIsNot(made._target("0"), first)

    def test_each_address_of_a_service_that_moves_is_asked_for(self) -> None:
        urls = iter(["ws://127.0.0.1:1/a", "ws://127.0.0.1:2/a"])
        made = self.make(find_url=lambda: next(urls))
        self.assertEqual([made._target("m").port for _ in range(2)], [1, 2])


class BriefTests(OfflineCase):
    def told(self, **changes: Any) -> dict[str, Any]:
        """@return: The session that the service is told with this brief."""
        self.start(replace(BRIEF, **changes))
        self.talk.begin(8000, 8000)
        self.come({"type": "session.created", "session": {}})
        [update] = self.line.take()
        found = update["session"]
        assert isinstance(found, dict)
        return found

    def test_all_of_it_is_told(self) -> None:
        session = self.told(
            instructions="Be kind.",
            voice="cedar",
            speed=0.9,
            noise_reduction="far_field",
            turn_detection=TurnDetection("server_vad", 0.7, 200, 600, 9000),
            transcription=Transcription("gpt-transcribe", ("es", "en"), ("Ana",)),
            reasoning_effort="high",
            max_output_tokens=700,
            truncation=Truncation("retention_ratio", 0.6, 5000),
        )
        turn_detection = {
            "type": "server_vad",
            "threshold": 0.7,
            "prefix_padding_ms": 200,
            "silence_duration_ms": 600,
            "idle_timeout_ms": 9000,
            "create_response": True,
            "interrupt_response": True,
        }
        transcription = {
            "model": "gpt-transcribe",
            "languages": ["es", "en"],
            "keywords": ["Ana"],
        }
        given, wanted = session["audio"]["input"], session["audio"]["output"]
        self.assertEqual(session["instructions"], "Be kind.")
        self.assertEqual((wanted["voice"], wanted["speed"]), ("cedar", 0.9))
        self.assertEqual(given["noise_reduction"], {"type": "far_field"})
        self.assertEqual(given["turn_detection"], turn_detection)
        self.assertEqual(given["transcription"], transcription)
        self.assertEqual(session["reasoning"], {"effort": "high"})
        self.assertEqual(session["max_output_tokens"], 700)
        self.assertEqual(session["tools"][0]["name"], "hang_up")
        self.assertEqual(
            session["truncation"],
            {
                "type": "retention_ratio",
                "retention_ratio": 0.6,
                "token_limits": {"post_instructions": 5000},
            },
        )

    def test_a_plain_brief_leaves_the_rest_to_the_service(self) -> None:
        session = self.told(tools=())
        self.assertEqual(
            set(session), {"type", "output_modalities", "instructions", "audio"}
        )
        self.assertNotIn("transcription", session["audio"]["input"])

    def test_each_kind_of_turn_detection_is_told(self) -> None:
        for turns, expected in (
            (
                TurnDetection("semantic_vad", 0.9, eagerness="low", idle_timeout_ms=1),
                {
                    "type": "semantic_vad",
                    "eagerness": "low",
                    "create_response": True,
                    "interrupt_response": True,
                },
            ),
            (TurnDetection("none"), None),
        ):
            given = self.told(turn_detection=turns)["audio"]["input"]
            self.assertEqual(given["turn_detection"], expected)

    def test_each_kind_of_truncation_is_told(self) -> None:
        disabled = self.told(truncation=Truncation("disabled"))
        self.assertEqual(disabled["truncation"], "disabled")
        self.assertNotIn("truncation", self.told(truncation=Truncation("auto")))
        ratio = self.told(truncation=Truncation("retention_ratio", 0.7))["truncation"]
        self.assertNotIn("token_limits", ratio)

    def test_models_that_do_not_reason_are_not_told_how_much(self) -> None:
        for model, reasons in {
            "gpt-realtime-2": True,
            "gpt-realtime-2.1-mini": True,
            "gpt-realtime-3": True,
            "our-deployment": True,
            "gpt-realtime": False,
            "gpt-realtime-1.5": False,
            "gpt-realtime-mini": False,
            "gpt-realtime-2025-08-28": False,
            "gpt-realtime-mini-2025-12-15": False,
            "gpt-4o-realtime-preview": False,
        }.items():
            self.assertEqual(can_reason(model), reasons, model)
            session = self.told(model=model, reasoning_effort="low")
            self.assertEqual("reasoning" in session, reasons, model)


COMMIT = {"type": "input_audio_buffer.commit"}


class TurnsByHandTests(OfflineCase):
    """Turn detection C{none}."""

    def setUp(self) -> None:
        self.start(replace(BRIEF, turn_detection=TurnDetection("none")))
        self.make_ready()

    def hear(self, ms: int) -> None:
        self.talk.send_audio(bytes(16 * ms))

    def audio_ms(self, sent: list[dict[str, Any]]) -> int:
        """@return: The length of the appends at the start, which are taken away."""
        size = 0
        while sent and sent[0]["type"] == "input_audio_buffer.append":
            size += len(b64decode(sent.pop(0)["audio"]))
        return size // 8

    def test_asking_for_a_reply_ends_the_turn(self) -> None:
        self.hear(300)
        self.talk.ask()
        sent = self.line.take()
        self.assertEqual(self.audio_ms(sent), 300)
        self.assertEqual(sent, [COMMIT, CREATE])

    def test_what_waits_for_its_piece_to_be_full_is_part_of_the_turn(self) -> None:
        self.hear(90)
        self.line.take()
        self.hear(10)
        self.assertEqual(self.line.take(), [])
        self.talk.ask()
        sent = self.line.take()
        self.assertEqual(self.audio_ms(sent), 10)
        self.assertEqual(sent, [COMMIT, CREATE])

    def test_less_than_100_ms_is_no_turn(self) -> None:
        for ms, is_turn in ((0, False), (99, False), (100, True)):
            self.setUp()
            self.hear(ms)
            self.talk.ask()
            self.assertEqual(COMMIT in self.line.take(), is_turn, ms)

    def test_a_turn_ends_once(self) -> None:
        self.hear(300)
        self.talk.ask()
        self.come(created(), done())
        self.line.take()
        self.talk.ask()
        self.assertEqual(self.line.take(), [CREATE])
        self.hear(60)
        self.come(created(), done())
        self.hear(60)
        self.line.take()
        self.talk.ask()
        self.assertEqual(self.line.take(), [COMMIT, CREATE])

    def test_the_greeting_is_no_answer_to_what_was_heard_while_connecting(self) -> None:
        self.start(replace(BRIEF, turn_detection=TurnDetection("none")))
        self.listener.do = lambda name: self.talk.ask() if name == "ready" else None
        self.talk.begin(8000, 8000)
        self.hear(900)
        self.come({"type": "session.created", "session": {}})
        self.come({"type": "session.updated", "session": {}})
        sent = self.line.take()[1:]
        self.assertEqual(self.audio_ms(sent), 900)
        self.assertEqual(sent, [CREATE])

    def test_words_of_ours_and_results_of_tools_end_no_turn(self) -> None:
        self.hear(300)
        self.talk.say("One moment.")
        self.come(created(), called("a"), done())
        self.talk.tool_result("a", "x")
        self.assertNotIn(COMMIT, self.line.take())
        self.come(created("resp_2"), done("resp_2"))
        self.talk.ask()
        self.assertEqual(self.line.take(), [COMMIT, CREATE])

    def test_a_turn_that_ends_during_a_reply_is_answered_after_it(self) -> None:
        self.come(created())
        self.hear(300)
        self.talk.ask()
        sent = self.line.take()
        self.audio_ms(sent)
        self.assertEqual(sent, [COMMIT])
        self.come(done())
        self.assertEqual(self.line.take(), [CREATE])

    def test_what_the_service_has_not_got_yet_is_not_counted(self) -> None:
        self.talk.stuck(True)
        self.hear(300)
        self.talk.ask()
        self.assertEqual(self.line.take(), [CREATE])
        self.talk.stuck(False)
        self.come(created(), done())
        self.line.take()
        self.talk.ask()
        self.assertEqual(self.line.take(), [COMMIT, CREATE])

    def test_a_refused_commit_does_no_harm(self) -> None:
        self.hear(300)
        self.talk.ask()
        self.line.take()
        self.come(error("input_audio_buffer_commit_empty"))
        self.come(created(), delta(b"\xff"), done())
        self.assertEqual(self.listener.names()[-1], "reply_ended")

    def test_a_new_format_begins_a_new_turn(self) -> None:
        self.hear(300)
        self.come(session(wire.PCMA, wire.PCMU))
        self.line.take()
        self.talk.ask()
        self.assertEqual(self.line.take(), [CREATE])

    def test_the_service_s_own_turn_detection_is_left_to_it(self) -> None:
        for kind in ("server_vad", "semantic_vad"):
            self.start(replace(BRIEF, turn_detection=TurnDetection(kind)))
            self.make_ready()
            self.hear(300)
            self.talk.ask()
            self.assertNotIn(COMMIT, self.line.take())


class UploadTests(OfflineCase):
    def uploaded(self) -> bytes:
        sent = self.line.take()
        self.assertEqual(
            {event["type"] for event in sent} - {"input_audio_buffer.append"}, set()
        )
        return b"".join(b64decode(event["audio"]) for event in sent)

    def test_batches_hold_what_was_set(self) -> None:
        for ms in (20, 40, 60, 100):
            self.start(upload_ms=ms)
            self.make_ready()
            for _ in range(30):
                self.talk.send_audio(bytes(320))
            sizes = {len(b64decode(event["audio"])) for event in self.line.take()}
            self.assertEqual(sizes, {8 * ms})

    @given(
        st.lists(st.integers(0, 700).map(lambda n: 2 * n), max_size=40),
        st.integers(0, 40),
        st.sampled_from([8000, 24000]),
    )
    def test_no_sample_is_lost_or_doubled(
        self, sizes: list[int], ready_after: int, rate: int
    ) -> None:
        self.start(audio_format="pcm" if rate == 24000 else "pcma")
        self.talk.begin(rate, rate)
        said = bytes(number % 251 for number in range(sum(sizes)))
        start = 0
        sent: list[dict[str, Any]] = []
        for index, size in enumerate([*sizes, 2 * 24000]):
            if index == min(ready_after, len(sizes)):
                self.come({"type": "session.created", "session": {}})
                self.come({"type": "session.updated", "session": {}})
                sent += self.line.take()[1:]
            if index == len(sizes):
                break
            self.talk.send_audio(said[start : start + size])
            start += size
            sent += self.line.take()
        data = b"".join(b64decode(event["audio"]) for event in sent)
        expected = said if rate == 24000 else audio.alaw_encode(said)
        self.assertEqual(data, expected[: len(data)])
        width = 48 if rate == 24000 else 8
        self.assertLess(len(expected) - len(data), 40 * width)

    def test_a_service_that_does_not_read_loses_the_oldest_audio_with_one_warning(
        self,
    ) -> None:
        self.make_ready(24000, 24000)
        self.talk.stuck(True)
        second = 48000
        with capturedLogs() as logs:
            for number in range(14):
                self.talk.send_audio(bytes([number]) * second)
        self.assertEqual(len(logs), 1)
        self.assertIn(CALL_ID, formatEvent(logs[0]))
        self.assertEqual(self.line.take(), [])
        self.talk.stuck(False)
        kept = self.uploaded()
        self.assertEqual(len(kept), MOST_UNSENT * second)
        self.assertEqual((kept[0], kept[-1]), (4, 13))

    def test_nothing_is_kept_after_the_end(self) -> None:
        self.make_ready()
        self.talk.close()
        self.talk.send_audio(bytes(320))
        self.talk.stuck(False)
        self.assertEqual((self.line.take(), self.talk._uplink.waiting), ([], 0))


class DownloadTests(OfflineCase):
    def test_g711_is_decoded_exactly(self) -> None:
        for setting, code, decode in (
            ("pcmu", audio.ulaw_encode, audio.ulaw_decode),
            ("pcma", audio.alaw_encode, audio.alaw_decode),
        ):
            self.start(audio_format=setting)
            self.make_ready()
            data = code(tone(500))
            self.come(created(), delta(data[:1001]), delta(data[1001:]))
            self.assertEqual(self.listener.audio, {"item_1": decode(data)})

    @given(st.lists(st.binary(max_size=9), max_size=9))
    def test_pcm_cut_anywhere_comes_out_whole(self, chunks: list[bytes]) -> None:
        self.start(audio_format="pcm")
        self.make_ready()
        self.come(created(), *(delta(chunk) for chunk in chunks))
        data = b"".join(chunks)
        whole = data[: len(data) & ~1]
        self.assertEqual(self.listener.audio.get("item_1", b""), whole)

    def test_half_a_sample_does_not_move_the_next_item(self) -> None:
        self.start(audio_format="pcm")
        self.make_ready()
        self.come(created(), delta(b"\1\2\3"), delta(b"\4\5", "item_2"))
        self.assertEqual(self.listener.audio, {"item_1": b"\1\2", "item_2": b"\4\5"})

    def test_pcm_in_the_place_of_g711_is_found_and_agreed_anew(self) -> None:
        for setting in ("pcmu", "pcma"):
            self.start(audio_format=setting)
            self.make_ready()
            pcm = tone(600)
            with capturedLogs() as logs:
                self.come(created(), delta(pcm[:4801]), delta(pcm[4801:]))
            (line,) = said(logs)
            self.assertIn("sends PCM", formatEvent(line))
            self.assertEqual(self.listener.audio, {"item_1": pcm})
            self.assertEqual(
                (self.talk.caller_rate, self.talk.agent_rate), 2 * (24000,)
            )
            [update] = self.line.take()
            self.assertEqual(
                update["session"]["audio"]["output"]["format"]["type"], wire.PCM
            )
            # It goes on claiming what it does not do: that is known by now.
            self.come(session(f"audio/{setting}", f"audio/{setting}"))
            self.come(done(), created("resp_2"), delta(pcm, "item_2", "resp_2"))
            self.assertEqual(self.listener.audio["item_2"], pcm)
            self.talk.interrupt("item_1", 9000)
            self.assertEqual(self.line.take(), [])

    def test_audio_that_belongs_to_nothing_sounds(self) -> None:
        self.make_ready()
        self.come(delta(b"\xff" * 80))
        self.talk.ask()
        self.assertEqual(self.line.take(), [])
        self.come(done())
        self.assertEqual(self.line.take(), [CREATE])
        self.assertEqual(
            self.listener.names(), ["ready", "agent_audio", "agent_done", "reply_ended"]
        )

    def test_audio_after_the_end_of_its_reply_is_dropped(self) -> None:
        self.make_ready()
        self.come(created(), delta(b"\xff"), done(status="cancelled"))
        self.come(delta(b"\xff"), delta(b"\xff", "item_2"))
        self.assertEqual(self.listener.audio, {"item_1": b"\0\0"})
        self.talk.ask()
        self.assertEqual(self.line.take(), [CREATE])


class InterruptTests(OfflineCase):
    def setUp(self) -> None:
        super().setUp()
        self.make_ready()
        self.come(created(), delta(b"\xff" * 4000))  # 500 ms

    def cut(self, *args: Any) -> list[Any]:
        self.talk.interrupt(*args)
        sent = self.line.take()
        self.assertEqual(
            {e["type"] for e in sent} - {"conversation.item.truncate"}, set()
        )
        return [(event["item_id"], event["audio_end_ms"]) for event in sent]

    def test_truncates_at_what_was_heard_but_never_beyond_what_came(self) -> None:
        for heard, end in ((0, 0), (120, 120), (500, 500), (900, 500), (-5, 0)):
            self.talk._downlink._items["item_1"].cut = False
            self.assertEqual(self.cut("item_1", heard), [("item_1", end)])

    def test_the_end_is_a_whole_number(self) -> None:
        [(_, end)] = self.cut("item_1", 120.7)
        self.assertIs(type(end), int)

    def test_an_item_is_cut_once_and_its_late_audio_dropped(self) -> None:
        self.assertEqual(self.cut("item_1", 100), [("item_1", 100)])
        self.assertEqual(self.cut("item_1", 90), [])
        before = dict(self.listener.audio)
        self.come(delta(b"\xff" * 80))
        self.assertEqual(self.listener.audio, before)

    def test_its_words_are_told_until_then(self) -> None:
        self.come(words("We are "), words(""), words("open."))
        self.cut("item_1", 100)
        self.come(words(" Until"), words("Yes?", "item_2", "resp_2"))
        self.assertEqual(
            self.listener.agent_text,
            [("We are ", "item_1"), ("open.", "item_1"), ("Yes?", "item_2")],
        )

    def test_of_a_reply_that_was_stopped_no_more_words_are_told(self) -> None:
        self.talk.cancel()
        self.come(words("We are "), words("open.", "item_9"))
        self.assertEqual(self.listener.agent_text, [])

    def test_items_that_nobody_knows_are_not_cut(self) -> None:
        self.assertEqual(self.cut("prompt moment", 10), [])

    def test_two_queued_items_are_cut_each_by_itself(self) -> None:
        self.come(delta(b"\xff" * 800, "item_2"))
        self.assertEqual(self.cut("item_1", 200), [("item_1", 200)])
        self.assertEqual(self.cut("item_2", 0), [("item_2", 0)])

    def test_what_was_complete_and_all_heard_is_not_cut(self) -> None:
        self.come(done())
        self.assertEqual(self.cut("item_1", 500), [])

    def test_a_complete_reply_is_cut_when_it_was_not_all_heard(self) -> None:
        self.come(done())
        self.assertEqual(self.cut("item_1", 499), [("item_1", 499)])

    def test_speech_mutes_the_reply_that_the_service_cancels(self) -> None:
        self.come({"type": "input_audio_buffer.speech_started"}, delta(b"\xff" * 80))
        self.assertEqual(self.listener.names()[-1], "caller_started")
        self.assertEqual(self.line.take(), [])

    def test_speech_cancels_by_our_hand_when_the_service_is_told_not_to(self) -> None:
        turns = TurnDetection(interrupt_response=False)
        self.start(replace(BRIEF, turn_detection=turns))
        self.make_ready()
        self.come(created(), {"type": "input_audio_buffer.speech_started"})
        self.assertEqual(
            self.line.take(), [{"type": "response.cancel", "response_id": "resp_1"}]
        )

    def test_cancel_stops_the_reply_being_made_and_only_that(self) -> None:
        self.talk.cancel()
        self.assertEqual(
            self.line.take(), [{"type": "response.cancel", "response_id": "resp_1"}]
        )
        self.come(delta(b"\xff"), done(status="cancelled"))
        self.talk.cancel()
        self.assertEqual(self.line.take(), [])
        self.come(created("resp_2"), delta(b"\xff", "item_2", "resp_2"))
        self.assertIn("item_2", self.listener.audio)

    def test_cancel_forgets_what_waits_to_be_asked_but_not_words_to_be_said(
        self,
    ) -> None:
        self.talk.ask()
        self.talk.say("Goodbye.")
        self.talk.cancel()
        self.line.take()
        self.come(done(status="cancelled"))
        [event] = self.line.take()
        self.assertIn("Goodbye.", event["response"]["instructions"])
        self.come(created("resp_2"), done("resp_2"))
        self.assertEqual(self.line.take(), [])

    def test_cancel_also_meets_a_reply_that_was_only_asked_for(self) -> None:
        self.come(done())
        self.talk.ask()
        self.talk.cancel()
        self.talk.ask()
        self.assertEqual(self.line.types(), ["response.create"])
        self.come(created("resp_2"), delta(b"\xff", "item_2", "resp_2"))
        self.assertEqual(self.line.types(), ["response.cancel"])
        self.assertNotIn("item_2", self.listener.audio)
        self.come(done("resp_2", "cancelled"))
        self.assertEqual(self.line.types(), ["response.create"])


class ManneredTests(OfflineCase):
    """Where portero decides what the caller's voice does."""

    def setUp(self) -> None:
        turns = TurnDetection(interrupt_response=False, create_response=False)
        self.start(replace(BRIEF, turn_detection=turns))
        self.make_ready()

    def test_speech_alone_stops_no_reply(self) -> None:
        started = {"type": "input_audio_buffer.speech_started", "item_id": "item_c"}
        self.come(created(), delta(b"\xff" * 80), started)
        self.assertEqual(self.line.take(), [])
        self.assertEqual(self.listener.speech, "item_c")
        self.come(delta(b"\xff" * 80))
        self.assertEqual(len(self.listener.audio["item_1"]), 320)

    def test_what_is_asked_for_meanwhile_follows_it(self) -> None:
        self.come(created(), delta(b"\xff" * 80))
        self.talk.ask()
        self.assertEqual(self.line.take(), [])
        self.come(done())
        self.assertEqual(self.line.take(), [CREATE])

    def test_words_and_silences_of_the_caller_are_told(self) -> None:
        kind = "conversation.item.input_audio_transcription.delta"
        self.come(
            {"type": kind, "item_id": "item_c", "delta": "No"},
            {"type": kind, "item_id": "item_c", "delta": ""},
            {"type": "input_audio_buffer.timeout_triggered", "item_id": "item_c"},
        )
        self.assertEqual(self.listener.words, [("No", "item_c")])
        self.assertEqual(self.listener.names()[-1], "caller_idle")


class WrittenTests(OfflineCase):
    def setUp(self) -> None:
        super().setUp()
        self.make_ready()
        text = [{"type": "output_text", "text": "Closed."}]
        self.output = [{"type": "message", "content": text}]

    def end(self, status: str = "completed") -> str:
        self.come(done(status=status, output=self.output))
        return self.listener.written

    def test_a_reply_in_writing_is_told(self) -> None:
        self.come(created())
        self.assertEqual(self.end(), "Closed.")
        self.assertEqual(self.listener.told[-1], ("reply_ended", 0, ""))

    def test_one_that_spoke_or_called_a_tool_too_is_none(self) -> None:
        self.come(created(), delta(b"\xff" * 80))
        self.assertEqual(self.end(), "")
        self.come(created("resp_2"), called("call_1", "resp_2"))
        self.assertEqual(self.end(), "")

    def test_one_that_was_cancelled_is_none(self) -> None:
        self.come(created())
        self.assertEqual(self.end("cancelled"), "")

    def test_what_is_to_be_said_is_asked_for_as_audio(self) -> None:
        self.talk.say("Closed.")
        [event] = self.line.take()
        self.assertEqual(event["response"]["output_modalities"], ["audio"])


class ReplyTests(OfflineCase):
    def setUp(self) -> None:
        super().setUp()
        self.make_ready()

    def test_one_reply_at_a_time(self) -> None:
        self.talk.ask()
        self.talk.say("Good morning.")
        self.assertEqual(self.line.take(), [CREATE])
        self.come(created())
        self.assertEqual(self.line.take(), [])
        self.come(done())
        [event] = self.line.take()
        self.assertIn("Good morning.", event["response"]["instructions"])

    def test_a_refusal_that_crossed_the_service_s_own_reply_is_repeated(self) -> None:
        own = created("resp_own")
        busy = "conversation_already_has_active_response"
        for order in ("own busy done", "own done busy", "busy own done"):
            self.start()
            self.make_ready()
            self.talk.say("Hello.")
            answers = {"own": own, "busy": error(busy, self.last_id())}
            first = self.line.take()
            for word in order.split():
                self.come(answers.get(word, done("resp_own")))
            if order == "busy own done":  # repeated at once, and refused again
                self.assertEqual(len(self.line.sent), 1)
                continue
            self.assertEqual(self.line.take(), first, order)

    def test_a_refusal_without_an_event_id_is_understood(self) -> None:
        self.talk.say("Hello.")
        first = self.line.take()
        self.come(created("resp_own"))
        self.come(error("", None, "Conversation already has an active response"))
        self.assertEqual(self.line.take(), [])
        self.come(done("resp_own"))
        self.assertEqual(self.line.take(), first)

    def test_a_service_that_is_always_busy_is_not_asked_for_ever(self) -> None:
        self.talk.ask()
        asked = 0
        while self.line.sent and asked < 50:
            asked += 1
            event_id = self.last_id()
            self.line.take()
            self.come(error("conversation_already_has_active_response", event_id))
        self.assertEqual(asked, MOST_REFUSED)
        self.come(done("resp_hidden"))
        self.assertEqual(self.line.take(), [CREATE])

    def test_a_request_that_was_refused_makes_room_for_the_next(self) -> None:
        for named in (True, False):
            self.start()
            self.make_ready()
            self.talk.say("Hello.")
            event_id = self.last_id() if named else None
            self.line.take()
            self.talk.ask()
            with capturedLogs() as logs:
                self.come(error("invalid_value", event_id))
            self.assertEqual([e["log_level"] for e in logs], [LogLevel.error])
            self.assertEqual(self.line.take(), [CREATE])

    def test_a_request_that_nobody_answers_does_not_block_for_ever(self) -> None:
        self.talk.ask()
        self.line.take()
        self.talk.ask()
        self.assertEqual(self.line.take(), [])
        self.clock.advance(ANSWERED_WITHIN + 0.1)
        self.talk.ask()
        self.assertEqual(self.line.take(), [CREATE])

    def test_requests_in_its_own_words_are_one(self) -> None:
        self.come(created())
        for _ in range(3):
            self.talk.ask()
        self.come(done())
        self.assertEqual(self.line.take(), [CREATE])
        self.come(created("resp_2"), done("resp_2"))
        self.assertEqual(self.line.take(), [])

    def test_a_failed_reply_is_asked_for_once_more_in_the_same_words(self) -> None:
        self.talk.say("Hello.")
        first = self.line.take()
        self.come(created(), failed("odd"))
        self.assertEqual(self.line.take(), first)
        self.assertEqual(self.listener.told[-1], ("reply_ended", 0, "odd: Words."))
        self.come(created(), failed("odd"))
        self.assertTrue(self.loss().final)
        self.assertEqual(self.line.take(), [])

    def test_audio_between_two_failures_makes_them_two_first_ones(self) -> None:
        self.come(created(), failed("odd"))
        self.come(created("r2"), delta(b"\xff", "i2", "r2"), done("r2"))
        self.come(created("r3"), failed("odd"))
        self.assertNotIn("lost", self.listener.names())

    def test_a_reply_that_failed_by_a_code_of_the_table_follows_the_table(self) -> None:
        for code, final in (
            ("insufficient_quota", True),
            ("rate_limit_exceeded", False),
            ("server_error", False),
        ):
            self.start()
            self.make_ready()
            self.come(created(), failed(code))
            self.assertEqual(self.loss().final, final)
            self.assertEqual(self.line.take(), [])

    def test_an_incomplete_reply_is_an_end_like_others(self) -> None:
        for reason in ("content_filter", "max_output_tokens"):
            self.start()
            self.make_ready()
            self.come(created(), delta(b"\xff"))
            self.come(done(status="incomplete", status_details={"reason": reason}))
            self.assertEqual(self.listener.told[-1], ("reply_ended", 1, ""))

    def test_usage_is_told(self) -> None:
        self.come(created(), done(usage={"total_tokens": 7}))
        self.assertIn(("usage", {"total_tokens": 7}), self.listener.told)

    def test_usage_of_a_transcription_is_told_apart(self) -> None:
        self.come(
            transcribed({"type": "duration", "seconds": 1.5}),
            transcribed({"type": "tokens", "input_tokens": 5, "output_tokens": 2}),
            transcribed(None),
        )
        said = ("transcript", "user", "Hello.", "item_c")
        self.assertEqual(
            self.listener.told[1:],
            [
                said,
                ("usage", {"transcription.ms": 1500}),
                said,
                (
                    "usage",
                    {
                        "transcription.input.audio_tokens": 5,
                        "transcription.output.text_tokens": 2,
                    },
                ),
                said,
            ],
        )


class ToolTests(OfflineCase):
    def setUp(self) -> None:
        super().setUp()
        self.make_ready()
        self.come(created())

    def test_the_reply_waits_for_the_last_result_and_for_the_end(self) -> None:
        self.come(called("a"))
        self.assertEqual(
            self.listener.told[-1], ("tool_called", "a", "hang_up", {"why": "bye"})
        )
        self.talk.tool_result("a", "one")
        self.come(called("b"), done())
        self.assertEqual(self.line.types(), ["conversation.item.create"])
        self.talk.tool_result("b", "two")
        self.assertEqual(
            self.line.types(), ["conversation.item.create", "response.create"]
        )
        self.come(created("resp_2"), done("resp_2"))
        self.assertEqual(self.line.types(), [])

    def test_a_result_after_the_reply_asks_at_once(self) -> None:
        self.come(called("a"), done())
        self.assertEqual(self.line.types(), [])
        self.talk.tool_result("a", "one")
        sent = self.line.take()
        self.assertEqual(
            sent[0]["item"],
            {"type": "function_call_output", "call_id": "a", "output": "one"},
        )
        self.assertEqual(sent[1], CREATE)

    def test_a_call_that_is_told_twice_runs_once(self) -> None:
        self.come(called("a"))
        self.talk.tool_result("a", "one")
        self.come(called("a"))
        self.assertEqual(self.listener.names().count("tool_called"), 1)
        self.talk.tool_result("a", "again")
        self.talk.tool_result("unknown", "x")
        self.assertEqual(self.line.types(), ["conversation.item.create"])

    def test_calls_of_a_cancelled_reply_are_not_run(self) -> None:
        self.come({"type": "input_audio_buffer.speech_started"}, called("a"))
        self.come(called("b", status="incomplete"))
        self.come(done(status="cancelled"), called("c"))
        self.assertNotIn("tool_called", self.listener.names())

    def test_arguments_that_are_none_are_answered_for_the_tool(self) -> None:
        for number, arguments in enumerate(("{", "[]", "[" * 100_000, "5")):
            self.come(called(f"call {number}", arguments=arguments))
        self.assertNotIn("tool_called", self.listener.names())
        outputs = [event["item"]["output"] for event in self.line.take()]
        self.assertEqual(outputs, 4 * ["error: the arguments are no JSON object"])


class ErrorTests(OfflineCase):
    def test_rows_that_end_the_conversation(self) -> None:
        for code, final, pause in (
            ("insufficient_quota", True, 0),
            ("credit_balance_exhausted", True, 0),
            ("billing_hard_limit_reached", True, 0),
            ("invalid_api_key", True, 0),
            ("account_deactivated", True, 0),
            ("beta_api_shape_disabled", True, 0),
            ("session_expired", False, 0),
            ("server_error", False, 0),
            ("rate_limit_exceeded", False, errors.RATE_LIMIT_PAUSE),
        ):
            self.start()
            self.make_ready()
            self.come(error(code))
            loss = self.loss()
            self.assertEqual((loss.final, loss.retry_after), (final, pause), code)
            self.assertIn(code, loss.reason)
            self.assertTrue(self.line.closed)
            self.assertEqual(self.provider.health(), loss.reason)
            self.assertEqual(self.provider.report().errors, {code: 1})
            self.assertEqual(self.provider.report().last_error, loss.reason)

    def test_a_failure_says_nothing_of_calls_long_after_it(self) -> None:
        self.start()
        self.make_ready()
        self.come(error("server_error"))
        self.clock.advance(PROBLEM_COUNTS - 0.1)
        self.assertIn("server_error", self.provider.health())
        self.clock.advance(0.2)
        self.assertEqual(self.provider.health(), "")

    def test_rows_that_do_not(self) -> None:
        for code, level in (
            ("response_cancel_not_active", LogLevel.debug),
            ("input_audio_buffer_commit_empty", LogLevel.debug),
            ("item_retrieve_invalid_item_id", LogLevel.debug),
            ("invalid_event", LogLevel.error),
            ("unknown_parameter", LogLevel.error),
            ("never_heard_of", LogLevel.error),
        ):
            self.start()
            self.make_ready()
            with capturedLogs() as logs:
                self.come(error(code))
            self.assertEqual([e["log_level"] for e in logs], [level], code)
            counted = code if code in errors.ERROR_ACTIONS else "other"
            refused = {counted: 1} if level is LogLevel.error else {}
            self.assertEqual(self.provider.report().errors, refused, code)
            self.assertEqual(self.provider.health(), "", code)
            self.assertIn(CALL_ID, formatEvent(logs[0]))
            self.assertEqual(self.listener.names(), ["ready"])

    def test_a_refused_truncation_is_ignored(self) -> None:
        self.make_ready()
        self.come(created(), delta(b"\xff" * 800))
        self.talk.interrupt("item_1", 50)
        with capturedLogs() as logs:
            self.come(error("invalid_value", self.last_id()))
        self.assertEqual([e["log_level"] for e in logs], [LogLevel.debug])

    def test_a_refused_session_update_is_final_even_when_it_is_not_named(self) -> None:
        for named in (True, False):
            self.start()
            self.talk.begin(8000, 8000)
            self.come({"type": "session.created", "session": {}})
            self.come(error("invalid_value", self.last_id() if named else None))
            self.assertTrue(self.loss().final)

    def test_a_wished_pause_is_handed_on(self) -> None:
        self.make_ready()
        self.come(error("rate_limit_exceeded", None, "Please try again in 2.5s."))
        self.assertEqual(self.loss().retry_after, 2.5)

    def test_how_the_socket_ended_is_put_into_words(self) -> None:
        body = b'{"error":{"code":"invalid_api_key","message":"Incorrect key."}}'
        for ending, final, words in (
            (
                Ending("", status=401, body=body),
                True,
                "HTTP 401, invalid_api_key: Inco",
            ),
            (Ending("", status=503, retry_after=3.0), False, "HTTP 503"),
            (Ending("closed by the service: x (code 4000)", 4000), True, "code 4000"),
            (Ending("closed by the service: x (code 1001)", 1001), False, "code 1001"),
            (Ending("the certificate", final=True), True, "certificate"),
            (Ending("gone\n"), False, "gone"),
        ):
            self.start()
            self.make_ready()
            self.talk.closed(ending)
            loss = self.loss()
            self.assertEqual(
                (loss.final, loss.retry_after), (final, ending.retry_after)
            )
            self.assertIn(words, loss.reason)
            self.assertTrue(loss.reason.isprintable())

    def test_bad_events_are_warned_of_once_and_too_many_in_a_row_end_it(self) -> None:
        self.make_ready()
        with capturedLogs() as logs:
            for _ in range(3):
                self.come(*(MOST_BAD_EVENTS * [b"{"]), created(), done())
        (line,) = said(logs)
        self.assertIn(CALL_ID, formatEvent(line))
        self.talk.received(b"\0", True)
        self.come(*(MOST_BAD_EVENTS * [b"[" * 200_000]))
        self.assertFalse(self.loss().final)

    def test_an_error_of_our_own_ends_it_in_order(self) -> None:
        self.make_ready()

        def fail(name: str) -> None:
            if name == "caller_started":
                raise ZeroDivisionError

        self.listener.do = fail
        self.come({"type": "input_audio_buffer.speech_started"})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(self.loss().final)

    def test_no_event_comes_after_close_whenever_that_is(self) -> None:
        story = [
            {"type": "session.created", "session": {}},
            {"type": "session.updated", "session": {}},
            created(),
            delta(b"\xff" * 80),
            called("a"),
            {"type": "input_audio_buffer.speech_started"},
            {"type": "input_audio_buffer.speech_stopped"},
            transcribed({"type": "duration", "seconds": 1}),
            failed("odd"),
            created("resp_2"),
            delta(b"\xff" * 80, "item_2", "resp_2"),
            done("resp_2", usage={"total_tokens": 1}),
            error("server_error"),
        ]
        names: list[str] = []
        for at in range(14):

            def close(name: str) -> None:
                if len(self.listener.told) > at:  # noqa: B023  # called in this turn
                    self.listener.over = True
                    self.talk.close()

            self.start()
            self.listener.do = close
            self.talk.begin(8000, 8000)
            self.come(*story)
            self.talk.closed(Ending("gone"))
            names = self.listener.names()
            self.assertEqual(self.listener.late, [], names)
            self.assertEqual(len(names), at + 1)
        self.assertEqual(names[-1], "lost")


SEEDS: list[Any] = [
    {"type": "session.created", "session": {"expires_at": 1e300}},
    {"type": "session.updated", "session": {}},
    session(wire.PCM, wire.PCMU),
    created(),
    created("resp_2"),
    created(""),
    delta(b"\xff" * 400),
    delta(b"\xff\1\2", "item_2", "resp_2"),
    delta(b"", "item_3", ""),
    delta(tone(100)),
    {"type": "response.output_audio.done", "item_id": "item_1"},
    {"type": "response.output_audio.done", "item_id": "item_9"},
    called("a"),
    called("b", "resp_2", arguments="{"),
    done(),
    done("resp_2", "cancelled"),
    done("", "incomplete"),
    failed("odd"),
    error("conversation_already_has_active_response"),
    error("conversation_already_has_active_response", "p3"),
    error("invalid_value", "p4"),
    error("never_heard_of"),
    {"type": "input_audio_buffer.speech_started"},
    {"type": "input_audio_buffer.speech_stopped"},
    {
        "type": "response.output_audio_transcript.done",
        "item_id": "i",
        "transcript": "x",
    },
    transcribed({"type": "duration", "seconds": 1}),
    {"type": "something.new"},
    b"{",
    b'{"type":"response.done"}',
]
ACTS: list[Callable[[Conversation], None]] = [
    lambda talk: talk.ask(),
    lambda talk: talk.say("Hello."),
    lambda talk: talk.cancel(),
    lambda talk: talk.amend("Good day", "Good"),
    lambda talk: talk.interrupt("item_1", 20),
    lambda talk: talk.interrupt("item_9", 20),
    lambda talk: talk.tool_result("a", "x"),
    lambda talk: talk.add_text("user", "x"),
    lambda talk: talk.send_audio(bytes(960)),
    lambda talk: talk.stuck(True),
    lambda talk: talk.stuck(False),
]


class AnyOrderTests(OfflineCase):
    @settings(max_examples=300)
    @given(
        st.lists(st.sampled_from(SEEDS) | st.sampled_from(ACTS), max_size=40),
        st.sampled_from(["server_vad", "none"]),
    )
    def test_no_order_of_events_breaks_it(self, story: list[Any], kind: str) -> None:
        self.start(replace(BRIEF, turn_detection=TurnDetection(kind)))
        self.make_ready()
        for step in story:
            if callable(step):
                step(self.talk)
            else:
                self.come(step)
        self.assertEqual(self.listener.late, [])
        self.assertEqual(self.flushLoggedErrors(), [])
        if self.listener.over:
            self.assertTrue(self.line.closed)
            return
        # It still hears, speaks and asks.
        self.talk.stuck(False)
        self.line.take()
        self.talk.send_audio(bytes(4800))
        self.assertIn("input_audio_buffer.append", self.line.types())
        self.come(created("any"), done("any"), done(), created("last"))
        self.come(delta(b"\xff" * 1600, "item_last", "last"), done("last"))
        self.clock.advance(ANSWERED_WITHIN + 1)
        self.talk.tool_result("a", "x")
        for _ in range(20):
            self.line.take()
            self.come(created(f"more {_}"), done(f"more {_}"))
        self.talk.say("The end.")
        if not self.listener.over:
            self.assertIn("The end.", json.dumps(self.line.take()))
            self.assertIn("item_last", self.listener.audio)


class RepliesTests(SynchronousTestCase):
    def test_a_request_that_was_granted_is_not_repeated(self) -> None:
        replies = Replies()
        replies.want("Hello.")
        self.assertEqual(replies.due(0.0), "Hello.")
        replies.asked("p1", "Hello.", 0.0)
        replies.began("r1")
        self.assertEqual(replies.words, "Hello.")
        replies.ended()
        self.assertIsNone(replies.due(1.0))

    def test_only_what_was_sent_can_be_refused(self) -> None:
        replies = Replies()
        replies.busy("p9")
        replies.busy("")
        replies.refused("p9")
        self.assertIsNone(replies.due(0.0))
        self.assertFalse(replies.running)


class ServiceCase(TestCase):
    """Real sockets, with the simulator at the other end."""

    timeout = 30

    def serve(self, knobs: Knobs = QUICK, **changes: Any) -> Simulator:
        simulator = Simulator(clock, replace(knobs, **changes))
        simulator.startService()
        self.addCleanup(self.cleaned, simulator)
        return simulator

    def converse(
        self,
        simulator: Simulator,
        rates: tuple[int, int] = (8000, 8000),
        brief: Brief = BRIEF,
        **changes: Any,
    ) -> tuple[Conversation, Listener]:
        settings = ProviderSettings(url=simulator.url, **changes)
        listener = Listener()
        talk = Provider(clock, settings, "sk-key").converse(brief, listener)
        talk.begin(*rates)
        self.addCleanup(self.assertEqual, listener.late, [])
        self.addCleanup(talk.close)
        return talk, listener

    async def cleaned(self, simulator: Simulator) -> None:
        """Everything is gone: sockets here; delayed calls are trial's to find."""
        await self.until(lambda: not self.sockets())
        await simulator.stopService()

    def sockets(self) -> list[Any]:
        return [r for r in clock.getReaders() if isinstance(r, TCPClient)]

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait, 8 s at the most, until something is true."""
        for _ in range(800):
            if true():
                return
            await deferLater(clock, 0.01, lambda: None)
        self.fail("it did not come true")

    async def connection(self, simulator: Simulator) -> Connection:
        await self.until(lambda: bool(simulator.sessions))
        return simulator.sessions[0]


class TalkTests(ServiceCase):
    async def test_the_service_takes_every_choice_of_formats(self) -> None:
        simulator = self.serve()
        for setting in ("auto", "pcm", "pcmu", "pcma"):
            for rate in (8000, 24000):
                talk, listener = self.converse(
                    simulator, (rate, rate), audio_format=setting
                )
                await listener.until("ready")
                self.assertEqual(listener.names(), ["ready"])
                self.assertIn(talk.agent_rate, (8000, 24000))
                self.assertTrue(3590 < talk.expires_in <= 3600)
                talk.close()

    async def test_the_service_takes_every_brief(self) -> None:
        simulator = self.serve()
        words = ("es",), ("Ana",)
        changes: list[dict[str, Any]] = [
            {"turn_detection": TurnDetection(idle_timeout_ms=5000)},
            {"turn_detection": TurnDetection("semantic_vad", eagerness="high")},
            {"turn_detection": TurnDetection(create_response=False)},
            {"turn_detection": TurnDetection("none")},
            {"transcription": Transcription("gpt-transcribe", *words)},
            {"transcription": Transcription("gpt-4o-transcribe", *words)},
            {"transcription": Transcription("gpt-realtime-whisper", *words)},
            {"truncation": Truncation("disabled")},
            {"truncation": Truncation("retention_ratio", 0.8, 8000)},
            {"model": "gpt-realtime-1.5", "reasoning_effort": "low"},
            {"reasoning_effort": "low", "max_output_tokens": 900, "speed": 1.2},
            {"noise_reduction": "near_field", "voice": "voice_12"},
        ]
        for change in changes:
            brief = replace(BRIEF, **change)
            talk, listener = self.converse(simulator, brief=brief)
            await listener.until("ready")
            self.assertEqual(simulator.sessions[-1].model, brief.model)
            talk.close()

    async def test_a_turn_that_only_we_end_is_heard_and_answered(self) -> None:
        simulator = self.serve()
        brief = replace(
            BRIEF,
            turn_detection=TurnDetection("none"),
            transcription=Transcription("whisper-1", ("en",)),
        )
        talk, listener = self.converse(simulator, brief=brief)
        await listener.until("ready")
        talk.ask()
        await listener.until("reply_ended")
        talk.send_audio(tone(800, 8000))
        talk.ask()
        await listener.until("reply_ended")

        def told() -> list[Mapping[str, int]]:
            usage = [event[1] for event in listener.told if event[0] == "usage"]
            return [counts for counts in usage if "transcription.ms" in counts]

        await self.until(lambda: bool(told()))
        (words,) = told()
        self.assertEqual(words, {"transcription.ms": 800})
        server = simulator.sessions[0]
        types = [event["type"] for event in server.received]
        self.assertEqual(types.count("input_audio_buffer.commit"), 1)
        self.assertNotIn("error", server.sent_types)
        self.assertNotIn("caller_started", listener.names())
        # The agent of the service repeats what it heard.
        _, answer = listener.audio.values()
        self.assertEqual(len(answer), 16 * 800)

    async def test_usage_arrives_as_the_service_counted_it(self) -> None:
        told = {
            "total_tokens": 1000,
            "input_token_details": {
                "text_tokens": 300,
                "audio_tokens": 500,
                "cached_tokens": 640,
                "cached_tokens_details": {"text_tokens": 256, "audio_tokens": 384},
            },
            "output_token_details": {"text_tokens": 50, "audio_tokens": 150},
        }
        talk, listener = self.converse(self.serve(usage=told))
        await listener.until("ready")
        talk.ask()
        _, counts = await listener.until("usage")
        self.assertEqual(
            counts,
            {
                "total_tokens": 1000,
                "input.text_tokens": 300,
                "input.audio_tokens": 500,
                "input.cached.text_tokens": 256,
                "input.cached.audio_tokens": 384,
                "output.text_tokens": 50,
                "output.audio_tokens": 150,
            },
        )

    async def test_one_service_answers_each_call_in_its_language(self) -> None:
        simulator = self.serve()
        calls = []
        for language in ("es", "en"):
            told = Transcription("gpt-transcribe", (language,))
            brief = replace(BRIEF, transcription=told)
            calls.append((language, *self.converse(simulator, brief=brief)))
        for language, talk, listener in calls:
            await listener.until("ready")
            talk.ask()
            _, role, words, _ = await listener.until("transcript")
            self.assertEqual((role, words), ("assistant", WORDS[language]["greeting"]))

    async def test_the_service_remembers_of_its_history_what_was_heard(self) -> None:
        simulator = self.serve()
        history = (Said("assistant", "Good day, Ana."), Said("assistant", "Well?"))
        talk, listener = self.converse(simulator, brief=replace(BRIEF, history=history))
        await listener.until("ready")
        talk.amend("Good day, Ana.", "Good…")
        talk.add_text("user", "Yes.")
        talk.ask()
        await listener.until("reply_ended")
        server = simulator.sessions[0]
        assert server.session is not None
        texts = [item.text for item in server.session.conversation.items]
        self.assertEqual(texts[:3], ["Well?", "Good…", "Yes."])
        self.assertNotIn("error", server.sent_types)

    async def test_what_was_said_in_the_greeting_comes_late_and_is_answered(
        self,
    ) -> None:
        simulator = self.serve()
        talk, listener = self.converse(simulator)
        await listener.until("ready")
        second = audio.silence(8000)
        for held in (second, tone(1000), second, second):
            talk.send_audio(held)
        await listener.until("caller_started")
        await listener.until("caller_stopped")
        await listener.until("reply_ended")
        self.assertEqual(listener.names().count("caller_started"), 1)

    async def test_words_to_be_said_exactly_are_seen_by_the_service(self) -> None:
        simulator = self.serve()
        talk, listener = self.converse(simulator)
        await listener.until("ready")
        talk.say("Good morning, Ms Gil.")
        await listener.until("reply_ended")
        event = simulator.sessions[0].received[-1]
        self.assertIn("Good morning, Ms Gil.", event["response"]["instructions"])

    async def test_the_greeting_comes_whole_in_every_format(self) -> None:
        simulator = self.serve(reply=((0.0, 700),))
        for setting, expected in (
            ("pcmu", audio.ulaw_decode(audio.ulaw_encode(tone(700, 8000)))),
            ("pcma", audio.alaw_decode(audio.alaw_encode(tone(700, 8000)))),
        ):
            talk, listener = self.converse(simulator, audio_format=setting)
            await listener.until("ready")
            talk.say("Good morning.")
            _, item = await listener.until("agent_done")
            await listener.until("reply_ended")
            self.assertEqual(listener.audio, {item: expected})
            self.assertIn("usage", listener.names())
            talk.close()

    async def test_the_caller_s_audio_arrives_bit_for_bit(self) -> None:
        simulator = self.serve()
        said = tone(2000, 8000)
        for setting, code, decode in (
            ("pcmu", audio.ulaw_encode, audio.ulaw_decode),
            ("pcma", audio.alaw_encode, audio.alaw_decode),
        ):
            talk, listener = self.converse(simulator, audio_format=setting)
            for start in range(0, len(said), 320):
                if start == 16000:
                    await listener.until("ready")
                talk.send_audio(said[start : start + 320])
            server = simulator.sessions[-1]
            await self.until(lambda: len(server.heard[1]) >= len(said))  # noqa: B023
            self.assertEqual(server.heard, (8000, decode(code(said))))
            talk.close()

    async def test_speech_cuts_the_reply_and_truncates_it(self) -> None:
        simulator = self.serve(reply=((0.0, 20000),), speed=4.0, late_audio_ms=400)
        talk, listener = self.converse(simulator)
        await listener.until("ready")
        talk.ask()
        _, item, _ = await listener.until("agent_audio")
        for _ in range(40):
            talk.send_audio(tone(20, 8000))
        await listener.until("caller_started")
        got = len(listener.audio[item])
        talk.interrupt(item, 60)
        await listener.until("reply_ended")
        server = simulator.sessions[0]
        await self.until(lambda: server.truncations == [(item, 60)])
        self.assertEqual(len(listener.audio[item]), got)

    async def test_a_tool_is_called_and_its_result_spoken_of(self) -> None:
        simulator = self.serve(
            reply=((0.0, 100),), function_call=("hang_up", '{"why": "bye"}')
        )
        talk, listener = self.converse(simulator)
        await listener.until("ready")
        talk.ask()
        _, id, name, arguments = await listener.until("tool_called")
        self.assertEqual((name, arguments), ("hang_up", {"why": "bye"}))
        talk.tool_result(id, "It is done.")
        first = await listener.until("reply_ended")
        second = await listener.until("reply_ended")
        self.assertEqual((first[1], second[1]), (2, 1))

    async def test_pcm_sent_in_the_place_of_g711_is_heard_as_pcm(self) -> None:
        for setting in ("pcmu", "pcma"):
            simulator = self.serve(sent_format=wire.PCM, reply=((0.0, 600),))
            talk, listener = self.converse(simulator, audio_format=setting)
            await listener.until("ready")
            talk.ask()
            _, item = await listener.until("agent_done")
            self.assertEqual(len(listener.audio[item]), 600 * 48)
            self.assertLess(audio.level_dbfs(listener.audio[item]), -15)
            talk.close()

    async def test_events_that_are_optional_may_be_missing(self) -> None:
        hidden = {
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
        }
        simulator = self.serve(hide=frozenset(hidden), reply=((0.0, 300),))
        talk, listener = self.converse(simulator)
        await listener.until("ready")
        for _ in range(2):
            talk.ask()
            await listener.until("agent_done")
            await listener.until("reply_ended")
        self.assertEqual(len(listener.audio), 2)


class FaultTests(ServiceCase):
    async def lost(self, knobs: Knobs = QUICK, **changes: Any) -> Loss:
        simulator = self.serve(knobs, **changes)
        talk, listener = self.converse(simulator)
        talk.ask()
        _, loss = await listener.until("lost")
        assert isinstance(loss, Loss)
        return loss

    async def test_handshakes_are_refused_in_words(self) -> None:
        for status, code, final in (
            (401, "invalid_api_key", True),
            (403, "unsupported_country", True),
            (404, "model_not_found", True),
            (429, "rate_limit_exceeded", False),
            (429, "insufficient_quota", True),
            (500, "server_error", False),
        ):
            body = {"error": {"code": code, "message": f"About {code}."}}
            loss = await self.lost(refuse=(status, body))
            self.assertEqual(loss.final, final, code)
            self.assertIn(f"HTTP {status}, {code}: About {code}.", loss.reason)

    async def test_a_refused_session_update_is_final(self) -> None:
        loss = await self.lost(update_error="invalid_value")
        self.assertTrue(loss.final)

    async def test_a_reply_refused_for_the_account_is_final(self) -> None:
        for knob in ("create_error", "response_failed"):
            changes: dict[str, Any] = {knob: "insufficient_quota"}
            loss = await self.lost(**changes)
            self.assertTrue(loss.final)
            self.assertIn("add credit", loss.reason)

    async def test_a_session_at_its_end_is_to_be_renewed(self) -> None:
        loss = await self.lost(expires_in_s=0.3, answers=False)
        self.assertFalse(loss.final)
        self.assertIn("session_expired", loss.reason)

    async def test_a_drop_in_mid_word_is_told_at_once(self) -> None:
        for how, words in (
            ("close", "closed by the service: The server had an error. (code 1011)"),
            ("fin", "ended the connection"),
            ("abort", "the connection broke"),
        ):
            loss = await self.lost(drop_after_ms=300, reply=((0.0, 900),), drop=how)
            self.assertFalse(loss.final)
            self.assertIn(words, loss.reason)

    async def test_a_port_where_nobody_listens_is_named(self) -> None:
        simulator = self.serve()
        url = simulator.url
        await simulator.stopService()
        simulator.url = url
        _, listener = self.converse(simulator)
        _, loss = await listener.until("lost")
        self.assertFalse(loss.final)
        self.assertIn("cannot connect to 127.0.0.1:", loss.reason)

    async def test_junk_between_events_is_survived(self) -> None:
        junk = ("{", "[]", b"\0\1", "[" * 200_000, '{"type":5}', "", "é")
        simulator = self.serve(inject=junk, reply=((0.0, 200),))
        with capturedLogs() as logs:
            talk, listener = self.converse(simulator)
            await listener.until("ready")
            talk.ask()
            await listener.until("reply_ended")
        self.assertEqual(len(listener.audio), 1)
        told = [formatEvent(e) for e in logs if "no event" in formatEvent(e)]
        self.assertEqual(len(told), 1)

    async def test_junk_without_end_ends_it(self) -> None:
        loss = await self.lost(inject=("{",) * 30)
        self.assertIn("no events", loss.reason)

    async def test_a_message_of_5_mb_is_refused_with_code_1009(self) -> None:
        simulator = self.serve()
        _, listener = self.converse(simulator)
        await listener.until("ready")
        server = await self.connection(simulator)
        server.send_raw("x" * 5_000_000)
        _, loss = await listener.until("lost")
        self.assertIn("1009", loss.reason)
        await self.until(lambda: server.remoteCloseCode == 1009)

    async def test_a_service_that_never_reads_costs_bounded_memory(self) -> None:
        simulator = self.serve()
        talk, listener = self.converse(simulator, (24000, 24000))
        await listener.until("ready")
        simulator.sessions[0].transport.pauseProducing()
        with capturedLogs() as logs:
            for _ in range(1500):
                talk.send_audio(bytes(48000))
                await deferLater(clock, 0, lambda: None)
                if talk._dropped:
                    break
        self.assertTrue(talk._dropped)
        self.assertLess(len(self.sockets()[0].dataBuffer), 2_000_000)
        for _ in range(30):
            talk.send_audio(bytes(48000))
        self.assertLessEqual(talk._uplink.waiting, MOST_UNSENT)
        warned = [e for e in logs if e["log_level"] is LogLevel.warn]
        self.assertEqual(len(warned), 1)
        self.assertEqual(listener.names(), ["ready"])


class CloseTests(ServiceCase):
    async def test_close_leaves_nothing_in_any_state(self) -> None:
        """How far it comes in so many milliseconds differs: so the states do."""
        changes: tuple[dict[str, Any], ...] = {}, {"handshake": False}, {"deaf": True}
        for change in changes:
            simulator = self.serve(reply=((0.0, 5000),), **change)
            for ms in (0, 0.5, 1, 2, 3, 5, 8, 12, 20, 40):
                talk, listener = self.converse(simulator)
                talk.ask()
                if ms:
                    await deferLater(clock, ms / 1000, lambda: None)
                talk.close()
                listener.over = True
                talk.close()
                talk.send_audio(bytes(320))
                talk.ask()
            await self.until(lambda: not self.sockets())
