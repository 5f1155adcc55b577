"""Tests of L{portero.greeting} and L{portero.greeter}: a greeting without a wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from portero import greeting
from portero.audio import fade_out, write_wav
from portero.call import Call
from portero.config import DEFAULT, Config, load
from portero.errors import ConfigError
from portero.facts import Facts
from portero.greeter import ITEM, PROTECTED_AFTER, PROTECTED_AT_LONGEST
from portero.greeting import PLAYED, Opening, Shelf, Sound
from portero.interfaces import Loss, Said
from portero.money import Ledger
from portero.pacing import PTIME, TICK, MediaClock
from portero.roster import Roster
from portero.sections import AgentSettings
from portero.toolbox import Toolbox
from portero.transports.audiosocket import AudioSocketFactory
from portero.wire import audiosocket as wire
from tests.fake_call import (
    FakeConversation,
    FakeProvider,
    FakeTool,
    Story,
    assignment,
)
from tests.fakes import FakeTransport

WORDS = "Good day, this is Example Limited. How can I help you?"
CALL_ID = bytes(range(16))


def voice(seconds: float, rate: int = 8000) -> bytes:
    """PCM without a silent sample."""
    when = np.arange(round(seconds * rate)) / rate
    wave = 8000 * np.sin(2 * np.pi * 440 * when) + 100
    return bytes(np.where(np.rint(wave) == 0, 1, np.rint(wave)).astype("<i2").tobytes())


def opening(seconds: float = 2.0, **given: Any) -> Opening:
    """One from a file."""
    return Opening(sound=Sound(8000, voice(seconds)), **given)


def story(of: Opening, **given: Any) -> Story:
    return Story(greeting=of.words, opening=of, **given)


class SoundTests(SynchronousTestCase):
    def wav(self, rate: int, seconds: float) -> str:
        path: str = self.mktemp()
        write_wav(path, rate, voice(seconds, rate))
        return path

    def test_a_file_of_any_rate_is_had_at_those_of_the_leg(self) -> None:
        for rate in (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000):
            sound = greeting.load(self.wav(rate, 0.5))
            for wanted in (8000, 16000, 24000):
                length = len(sound.at(wanted)) / (2 * wanted)
                self.assertApproximates(length, 0.5, 0.021, f"{rate} to {wanted}")

    def test_at_its_own_rate_it_is_as_it_was(self) -> None:
        self.assertEqual(greeting.load(self.wav(8000, 0.5)).at(8000), voice(0.5))

    def test_its_end_is_not_lost_in_the_filter(self) -> None:
        sound = greeting.load(self.wav(24000, 0.5))
        late = np.frombuffer(sound.at(8000), "<i2")[4000:4016]
        self.assertGreater(np.abs(late).max(), 5000)

    def test_an_unchanged_file_is_read_once(self) -> None:
        path = self.wav(8000, 0.1)
        sound = greeting.load(path)
        self.assertIs(greeting.load(path), sound)
        Path(path).unlink()
        write_wav(path, 8000, voice(0.2))
        self.assertEqual(greeting.load(path).at(8000), voice(0.2))

    def test_what_cannot_be_played_is_refused_with_the_remedy(self) -> None:
        mp3, empty, long, odd = (self.mktemp() for _ in range(4))
        Path(mp3).write_bytes(b"ID3\x04 and so on")
        write_wav(empty, 8000, b"")
        write_wav(long, 8000, bytes(2 * 8000 * 61))
        write_wav(odd, 12347, bytes(400))
        for path, said in (
            (mp3, "it is an MP3 file; a WAV file is needed; to make one: ffmpeg"),
            (empty, "there is no sound in it"),
            (long, "it lasts 61 s; 60 s are the most"),
            (odd, "use one of the usual rates"),
            (self.mktemp(), "No such file"),
            (".", "is a folder"),
            ("\0", "is not the name of a file"),
        ):
            error = self.assertRaises(ConfigError, greeting.load, path)
            self.assertIn(said, str(error))
            self.assertNotIn("WAV data", str(error))

    @settings(deadline=None)
    @given(st.binary(max_size=60))
    def test_any_file_is_a_sound_or_a_clear_error(self, garbage: bytes) -> None:
        path = self.mktemp()
        write_wav(path, 8000, b"12")
        whole = Path(path).read_bytes()
        for data in (garbage, whole[:20] + garbage, garbage.join([whole[:36], b"x"])):
            Path(path).write_bytes(data)
            try:
                sound = greeting.load(path)
            except ConfigError as error:
                self.assertTrue(str(error))
            else:
                self.assertTrue(sound.at(8000))


class ShelfTests(SynchronousTestCase):
    def test_what_is_kept_is_found_and_nothing_else(self) -> None:
        shelf = Shelf()
        shelf.keep("a", b"12")
        self.assertEqual((shelf.find("a"), shelf.find("b")), (b"12", b""))

    def test_the_one_longest_unused_goes_when_there_are_too_many(self) -> None:
        shelf = Shelf(most=2)
        shelf.keep("a", b"1")
        shelf.keep("b", b"2")
        shelf.find("a")
        shelf.keep("c", b"3")
        found = [shelf.find(key) for key in "abc"]
        self.assertEqual(found, [b"1", b"", b"3"])

    def test_or_when_they_are_too_large_together(self) -> None:
        shelf = Shelf(most_bytes=10)
        shelf.keep("a", bytes(6))
        shelf.keep("a", bytes(8))  # instead, not besides
        shelf.keep("b", bytes(2))
        self.assertEqual(len(shelf.find("a") + shelf.find("b")), 10)
        shelf.keep("c", bytes(1))
        self.assertEqual(shelf.find("a"), b"")
        self.assertEqual(len(shelf.find("b") + shelf.find("c")), 3)


class WordsTests(SynchronousTestCase):
    def test_the_same_words_may_be_written_in_other_ways(self) -> None:
        it = Opening(WORDS)
        for text in (
            WORDS,
            "good day - this is EXAMPLE Ltd. How can I help you",
            "Good day, this is Example Limited. How can I help you? ",
        ):
            self.assertTrue(it.is_said_by(text), text)

    def test_other_words_or_a_part_of_them_are_another_greeting(self) -> None:
        it = Opening(WORDS)
        for text in (
            "",
            "Hello! What can I do for you?",
            "Good day, this is Example Limited. How can I help",
            "Certainly. The office opens at nine. How can I help you?",
        ):
            self.assertFalse(it.is_said_by(text), text)


class FileTests(SynchronousTestCase):
    def test_it_plays_before_there_is_a_conversation(self) -> None:
        it = story(opening())
        it.provider.on["converse"] = lambda: self.assertEqual(it.leg.items, [ITEM])
        it.call.identified()
        self.assertEqual(it.provider.count("converse"), 1)
        self.assertEqual(it.leg.of("play"), [(ITEM, voice(2.0))])
        self.assertEqual(it.leg.ended, {ITEM})

    def test_the_agent_is_not_asked_to_greet(self) -> None:
        it = story(opening(words=WORDS)).talking()
        self.assertEqual(it.service.count("say") + it.service.count("ask"), 0)

    def test_its_words_are_the_first_of_the_history(self) -> None:
        it = story(opening(words=WORDS)).talking()
        self.assertEqual(it.service.brief.history, (Said("assistant", WORDS),))

    def test_without_words_the_agent_knows_that_there_was_one(self) -> None:
        it = story(opening()).talking()
        self.assertEqual(it.service.brief.history, (Said("system", PLAYED),))
        it.service.events.caller_started()
        self.assertEqual(it.leg.count("flush"), 1)
        self.assertEqual(it.service.count("amend"), 0)

    def test_a_caller_who_interrupts_has_heard_a_part_of_it(self) -> None:
        it = story(opening(words=WORDS)).talking()
        it.leg.heard_ms = 1000
        it.service.events.caller_started()
        half = WORDS[: len(WORDS) // 2].rstrip() + "…"
        self.assertEqual(it.service.of("amend"), [(WORDS, half)])
        self.assertEqual(it.service.count("interrupt"), 0)
        self.assertEqual(it.call.control.said(), (Said("assistant", half),))

    def test_what_was_heard_in_full_is_not_amended(self) -> None:
        it = story(opening(words=WORDS)).talking()
        it.leg.play_out()
        it.service.events.caller_started()
        self.assertEqual(it.service.count("amend"), 0)
        self.assertEqual(it.call.control.said(), (Said("assistant", WORDS),))

    def test_it_is_no_turn_and_has_no_latency(self) -> None:
        it = story(opening()).talking()
        it.leg.play_out()
        it.leg.drop()
        record = it.call.record
        assert record is not None
        self.assertEqual((record.turns, record.latency_ms), (0, None))

    def test_who_waits_long_for_the_service_is_asked_for_a_moment_after_it(
        self,
    ) -> None:
        it = story(opening(2.0), patience=1.5).identified()
        it.clock.advance(1.6)
        self.assertEqual(it.leg.items, [ITEM])
        it.leg.play_out()
        it.clock.advance(1.5)
        self.assertEqual(it.leg.items, [ITEM, "prompt moment"])

    def test_if_the_service_cannot_be_had_the_apology_follows(self) -> None:
        it = story(opening()).identified()
        it.service.events.lost(Loss("no such key", final=True))
        self.assertEqual(it.leg.items, [ITEM, "prompt apology"])
        it.leg.play_out()
        self.assertEqual(it.call.failure, "no such key")

    def test_a_second_conversation_does_not_greet_again(self) -> None:
        it = story(opening(words=WORDS)).talking()
        it.leg.play_out()
        it.service.events.lost(Loss("a cable", final=False))
        it.clock.advance(1)
        it.service.events.ready()
        self.assertEqual(len(it.provider.conversations), 2)
        self.assertEqual(it.service.brief.history, (Said("assistant", WORDS),))
        self.assertEqual(it.service.count("say") + it.service.count("ask"), 0)
        self.assertEqual(it.leg.items, [ITEM])

    def test_a_caller_who_is_silent_after_it_is_asked_like_any_other(self) -> None:
        it = story(opening(2.0), silence=10.0).talking()
        it.clock.advance(2.0)
        it.leg.play_out()
        it.clock.advance(9.9)
        self.assertEqual(it.service.count("ask"), 0)
        it.clock.advance(0.2)
        self.assertEqual(it.service.count("ask"), 1)

    def test_one_that_the_leg_cannot_hold_is_left_to_the_service(self) -> None:
        it = story(opening(words=WORDS))
        it.leg.full = True
        with capturedLogs() as logged:
            it.talking()
        self.assertEqual(it.service.of("say"), [(WORDS,)])
        self.assertEqual(it.service.brief.history, ())
        self.assertTrue(any("queue_frames" in e["log_format"] for e in logged))


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.opening = Opening(WORDS, shelf=Shelf(), key=("model", "voice"))

    def first(self, text: str = WORDS, pieces: int = 3) -> Story:
        """A call in which the service speaks the greeting."""
        it = story(self.opening).talking()
        for _ in range(pieces):
            it.service.speak("item_1", 0.5)
        it.service.events.agent_done("item_1")
        it.service.events.transcript("assistant", text, "item_1")
        return it

    def second(self) -> Story:
        return story(self.opening).identified()

    def test_the_first_call_hears_the_service(self) -> None:
        it = self.first()
        self.assertEqual(it.service.of("say"), [(WORDS,)])
        self.assertEqual(it.leg.items, ["item_1"])

    def test_the_second_hears_the_same_at_once_and_it_is_in_the_history(self) -> None:
        it = self.first()
        it.service.events.reply_ended(1, "")
        again = self.second()
        heard = b"".join(pcm for _, pcm in it.leg.of("play"))
        self.assertEqual(again.leg.of("play"), [(ITEM, heard)])
        self.assertEqual(again.service.brief.history, (Said("assistant", WORDS),))
        again.service.events.ready()
        self.assertEqual(again.service.count("say"), 0)

    def test_who_interrupts_it_afterwards_does_not_harm_it(self) -> None:
        it = self.first()
        it.service.events.reply_ended(1, "")
        it.service.events.caller_started()
        self.assertEqual(self.second().leg.items, [ITEM])

    def test_one_that_was_cut_is_not_kept(self) -> None:
        it = self.first()
        it.service.events.caller_started()
        it.service.events.reply_ended(1, "")
        self.assertEqual(self.second().leg.items, [])

    def test_one_that_failed_is_not_kept_but_the_next_attempt_is(self) -> None:
        it = self.first()
        it.service.events.reply_ended(1, "a server error")
        self.assertEqual(self.second().leg.items, [])
        it.service.reply("item_2", 0.25)
        self.assertEqual(self.second().leg.items, [])  # nobody said what that was
        it = self.first(pieces=0)
        it.service.events.reply_ended(0, "a server error")
        it.service.speak("item_2", 0.25)
        it.service.events.transcript("assistant", WORDS, "item_2")
        it.service.events.reply_ended(1, "")
        self.assertEqual(self.second().leg.of("play"), [(ITEM, bytes(4000))])

    def test_one_that_broke_off_with_its_conversation_is_not_kept(self) -> None:
        it = self.first()
        it.service.events.lost(Loss("a cable", final=False))
        it.clock.advance(1)
        it.service.events.ready()
        self.assertEqual(it.service.of("say"), [(WORDS,)])
        self.assertEqual(self.second().leg.items, [])
        it.service.speak("item_2", 0.25)
        it.service.events.transcript("assistant", WORDS, "item_2")
        it.service.events.reply_ended(1, "")
        self.assertEqual(self.second().leg.of("play"), [(ITEM, bytes(4000))])

    def test_one_that_the_leg_did_not_take_whole_is_not_kept(self) -> None:
        it = story(self.opening).talking()
        it.service.speak("item_1", 0.5)
        it.leg.full = True
        it.service.speak("item_1", 0.5)
        it.service.events.transcript("assistant", WORDS, "item_1")
        it.service.events.reply_ended(1, "")
        self.assertEqual(self.second().leg.items, [])

    def test_other_words_than_those_asked_for_are_not_kept(self) -> None:
        with capturedLogs() as logged:
            it = self.first("Hello! What can I do for you?")
            it.service.events.reply_ended(1, "")
        self.assertEqual(self.second().leg.items, [])
        self.assertTrue(any("in other words" in e["log_format"] for e in logged))

    def test_one_without_an_end_is_not_kept(self) -> None:
        it = self.first(pieces=121)
        it.service.events.reply_ended(1, "")
        self.assertEqual(self.second().leg.items, [])

    def test_later_replies_are_not_kept(self) -> None:
        it = self.first()
        it.service.events.reply_ended(1, "")
        it.leg.play_out()
        it.caller_speaks()
        it.service.reply("item_2")
        again = self.second().leg.of("play")
        self.assertEqual(again, [(ITEM, bytes(2 * 8000 + 8000))])

    def test_a_leg_of_a_higher_rate_has_a_better_one(self) -> None:
        it = self.first()
        it.service.events.reply_ended(1, "")
        wide = story(self.opening)
        wide.leg.agent_rate = 24000
        self.assertEqual(wide.identified().leg.items, [])
        wide.service.events.ready()
        wide.service.speak("item_1", 0.5)
        wide.service.events.transcript("assistant", WORDS, "item_1")
        wide.service.events.reply_ended(1, "")
        self.assertEqual(len(self.opening.at_hand(24000)), 24000)

    def test_a_leg_whose_rate_rises_finds_it_from_the_start(self) -> None:
        self.opening.keep(24000, voice(1.0, 24000))
        self.assertEqual(self.opening.at_hand(24000), voice(1.0, 24000))
        self.assertApproximates(len(self.opening.at_hand(8000)), 16000, 200)
        self.assertEqual(self.second().leg.items, [ITEM])


class ProtectionTests(SynchronousTestCase):
    def heard_by_service(self, it: Story) -> bytes:
        return b"".join(pcm for (pcm,) in it.service.of("send_audio"))

    def say(self, it: Story, frames: int) -> bytes:
        pcm = b""
        for number in range(frames):
            frame = bytes([number % 256, 1]) * 160
            it.call.caller_audio(frame)
            pcm += frame
        return pcm

    def test_the_service_hears_nothing_until_the_file_was_heard(self) -> None:
        it = story(opening(protected=True))
        it.call.identified()
        said = self.say(it, 10)
        it.service.events.ready()
        said += self.say(it, 10)
        self.assertEqual(it.service.count("begin"), 1)
        self.assertEqual(it.service.count("send_audio"), 0)
        it.leg.play_out()
        said += self.say(it, 1)
        self.assertEqual(self.heard_by_service(it), said)
        self.assertEqual(self.heard_by_service(it), said)
        said += self.say(it, 1)
        self.assertEqual(self.heard_by_service(it), said)

    def test_speech_and_keys_do_not_cut_it(self) -> None:
        for how in ("instant", "polite", "off"):
            it = story(opening(protected=True), interruption=how).talking()
            it.caller_speaks()
            it.call.dtmf("5")
            told = {name for name, *_ in it.leg.told}
            self.assertEqual(told & {"flush", "pause"}, set(), how)
            self.assertEqual(it.service.count("cancel"), 0, how)

    def test_afterwards_speech_cuts_again(self) -> None:
        it = story(opening(protected=True)).talking()
        it.leg.play_out()
        with capturedLogs() as logged:
            it.clock.advance(10)
        self.assertEqual([e for e in logged if "greeting" in e["log_format"]], [])
        it.caller_speaks()
        it.service.speak("item_1")
        it.service.events.caller_started()
        self.assertEqual(it.leg.count("flush"), 1)

    def test_one_that_the_service_speaks_is_protected_to_its_end(self) -> None:
        it = story(Opening(WORDS, protected=True)).talking()
        self.say(it, 5)
        it.service.speak("item_1", 2.0)
        it.service.events.caller_started()
        it.service.events.agent_done("item_1")
        it.service.events.reply_ended(1, "")
        self.say(it, 5)
        self.assertEqual(it.leg.count("flush"), 0)
        self.assertEqual(it.service.count("send_audio"), 0)
        it.leg.play_out()
        self.say(it, 1)
        self.assertEqual(len(self.heard_by_service(it)), 12 * 320)

    def test_one_in_two_parts_is_protected_to_the_end_of_the_second(self) -> None:
        it = story(Opening(WORDS, protected=True)).talking()
        for item in ("item_1", "item_2"):
            it.service.speak(item)
            it.service.events.agent_done(item)
            it.leg.play_out()
            it.service.events.caller_started()
            self.say(it, 1)
        self.assertEqual(it.service.count("send_audio"), 0)
        it.service.events.reply_ended(2, "")  # after all of it was heard
        self.say(it, 1)
        self.assertEqual(it.service.count("send_audio"), 1)

    def test_a_key_before_its_first_word_makes_it_no_turn(self) -> None:
        it = story(Opening(WORDS, protected=True)).talking()
        it.call.dtmf("5")
        it.call.dtmf("#")
        it.service.speak("item_1", 2.0)
        it.leg.play_out()
        self.assertEqual(it.call.snapshot()["turns"], 0)
        self.assertEqual(it.service.count("ask"), 1)

    def test_the_answer_to_a_key_is_not_protected(self) -> None:
        it = story(opening(protected=True)).talking()
        it.call.dtmf("5")
        it.call.dtmf("#")
        it.service.reply("answer")
        it.leg.events, events = None, it.leg.events
        it.leg.play_out()
        assert events is not None
        it.leg.events = events
        events.played_out(ITEM)
        self.say(it, 1)
        self.assertEqual(it.service.count("send_audio"), 1)
        it.service.events.caller_started()
        self.assertEqual(it.leg.count("flush"), 1)

    def test_its_own_clock_ends_it_whatever_is_lost(self) -> None:
        it = story(opening(2.0, protected=True)).talking()
        it.clock.advance(2.0 + PROTECTED_AFTER - 0.01)
        self.say(it, 1)
        self.assertEqual(it.service.count("send_audio"), 0)
        with capturedLogs() as logged:
            it.clock.advance(0.02)
        self.assertTrue(any("should be over" in e["log_format"] for e in logged))
        self.say(it, 1)
        self.assertGreater(it.service.count("send_audio"), 0)
        it.service.events.caller_started()
        self.assertEqual(it.leg.count("flush"), 1)

    def test_also_that_of_one_which_the_service_never_ends(self) -> None:
        it = story(Opening(WORDS, protected=True)).talking()
        it.service.speak("item_1", 2.0)
        it.clock.advance(1.0)
        it.service.speak("item_1", 1.0)
        it.clock.advance(2.0 + PROTECTED_AFTER - 0.01)
        self.say(it, 1)
        self.assertEqual(it.service.count("send_audio"), 0)
        it.clock.advance(0.02)
        self.say(it, 1)
        self.assertGreater(it.service.count("send_audio"), 0)

    def test_and_of_one_that_never_comes(self) -> None:
        it = story(Opening(WORDS, protected=True)).talking()
        it.clock.advance(PROTECTED_AFTER + 0.01)
        self.say(it, 1)
        self.assertEqual(it.service.count("send_audio"), 1)

    def test_who_speaks_for_ever_is_not_protected_for_ever(self) -> None:
        it = story(Opening(WORDS, protected=True)).talking()
        it.service.speak("item_1", 300.0)
        it.clock.advance(PROTECTED_AT_LONGEST + 0.01)
        self.say(it, 1)
        self.assertGreater(it.service.count("send_audio"), 0)

    def test_what_is_held_is_bounded_and_the_newest_of_it_is_kept(self) -> None:
        it = story(opening(50.0, protected=True)).talking()
        said = self.say(it, 2000)
        it.leg.play_out()
        said += self.say(it, 1)
        held = self.heard_by_service(it)
        self.assertEqual(len(held), 1500 * 320)
        self.assertTrue(said.endswith(held))

    def test_what_is_said_while_the_conversation_changes_is_not_lost(self) -> None:
        it = story(opening(protected=True)).talking()
        said = bytes(320) + self.say(it, 5)
        it.service.events.lost(Loss("a cable", final=False))
        said += self.say(it, 5)
        it.leg.play_out()
        said += self.say(it, 5)
        it.clock.advance(1)
        it.service.events.ready()
        said += self.say(it, 1)
        self.assertEqual(self.heard_by_service(it), said)

    def test_without_protection_the_service_hears_all(self) -> None:
        it = story(opening()).talking()
        self.say(it, 5)
        self.assertEqual(it.service.count("send_audio"), 6)


class FirstFrameTests(SynchronousTestCase):
    """With the real leg and its clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.provider = FakeProvider()
        self.opening = Opening(WORDS, shelf=Shelf())
        self.factory = AudioSocketFactory(
            self.clock, MediaClock(self.clock), self.accept
        )
        self.transport = FakeTransport()

    def accept(self, leg: Any, call_id: str) -> Call:
        toolbox = Toolbox((FakeTool(),), self.clock, 10.0)
        given = assignment(
            self.provider,
            toolbox,
            call_id=call_id,
            greeting=self.opening.words,
            opening=self.opening,
        )
        return Call(call_id, leg, given, self.clock, lambda call: None)

    def call(self) -> FakeConversation:
        leg: Any = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000))
        self.transport = FakeTransport()
        leg.makeConnection(self.transport)
        leg.dataReceived(wire.encode(wire.UUID, CALL_ID))
        self.addCleanup(leg.hang_up)
        return self.provider.conversations[-1]

    def frames(self, seconds: float) -> list[bytes]:
        """@return: The payloads of what is sent in this time."""
        self.transport.take()
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)
        return [data[wire.HEADER.size :] for data in self.transport.take()]

    def test_a_file_begins_in_the_first_frame_while_the_service_connects(self) -> None:
        self.opening = opening(0.1)
        self.call()
        frames = self.frames(0.2)
        self.assertEqual(b"".join(frames)[:1600], self.faded(voice(0.1)))
        self.assertEqual(b"".join(frames)[1600:], bytes(len(frames) * 320 - 1600))

    def faded(self, pcm: bytes) -> bytes:
        """As it is sent: its last 5 ms fade out."""
        return pcm[:-320] + fade_out(pcm[-320:], 40)

    def test_the_second_call_is_greeted_within_a_frame_of_its_id(self) -> None:
        service = self.call()
        service.events.ready()
        self.frames(1.0)
        service.events.agent_audio("item_1", voice(0.5))
        service.events.agent_done("item_1")
        service.events.transcript("assistant", WORDS, "item_1")
        service.events.reply_ended(1, "")
        self.assertIn(voice(0.5)[:320], self.frames(1.0))
        self.call()
        self.assertEqual(self.frames(PTIME)[0], voice(0.5)[:320])


class ConfigTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "portero.toml"
        write_wav(self.folder / "welcome.wav", 44100, voice(0.5, 44100))
        (self.folder / "welcome.mp3").write_bytes(b"ID3\x04")

    def load(self, text: str) -> Config:
        self.path.write_text(text, "utf-8")
        return load(str(self.path))

    def refused(self, text: str, said: str) -> None:
        error = self.assertRaises(ConfigError, self.load, text)
        (line,) = str(error).splitlines()
        self.assertIn(said, line.removeprefix(f"{self.path}:"))

    def roster(self, text: str, shelf: Shelf | None = None) -> Roster:
        config, service = self.load(text), FakeProvider()
        return Roster(
            config,
            dict.fromkeys(config.agents, service),
            dict.fromkeys(config.agents, ()),
            Clock(),
            Ledger(),
            shelf=shelf,
        )

    def opening(self, text: str, shelf: Shelf | None = None, **facts: Any) -> Opening:
        """@return: That of one call."""
        roster = self.roster(text, shelf)
        return roster.assign(DEFAULT, "a", Facts(**facts)).settings.opening

    def test_a_file_is_found_from_the_folder_of_the_configuration(self) -> None:
        it = self.opening('[agent]\ngreeting_file = "welcome.wav"\ngreeting = "Hi."')
        self.assertApproximates(len(it.at_hand(8000)), 8000, 330)
        self.assertEqual((it.words, it.protected), ("Hi.", False))

    def test_a_broken_file_is_one_line_at_its_key(self) -> None:
        self.refused(
            '[agent]\nvoice = "ash"\ngreeting_file = "welcome.mp3"\n[agents.a]\n',
            '3: [agent] greeting_file "welcome.mp3" cannot be played: it is an '
            "MP3 file; a WAV file is needed",
        )
        self.refused(
            '[agents.a]\ngreeting_file = "none.wav"',
            '2: [agents.a] greeting_file "none.wav" cannot be played: No such file',
        )

    def test_a_cache_needs_words_of_its_own(self) -> None:
        self.refused(
            "[agent]\ngreeting_cache = true", "2: [agent] greeting_cache needs greeting"
        )

    def test_whoever_misspells_the_words_is_told_only_that(self) -> None:
        text = '[agents.a]\ngreeting = "{"\ngreeting_cache = true'
        self.refused(text, "2: [agents.a] greeting ")

    def test_beside_a_file_a_cache_has_nothing_to_do(self) -> None:
        for words in ("", "Hi {caller_name}."):
            it = self.opening(
                '[agent]\ngreeting_cache = true\ngreeting_file = "welcome.wav"\n'
                f'greeting = "{words}"'
            )
            self.assertTrue(it.at_hand(8000))
            self.assertIsNone(it.shelf)

    def test_a_cache_for_words_that_change_with_each_call_is_refused(self) -> None:
        for name in ("caller_name", "caller_number", "time"):
            self.refused(
                f'[agent]\ngreeting_cache = true\ngreeting = "Hi {{{name}}}"',
                f"2: [agent] greeting_cache keeps nothing as greeting has {{{name}}}",
            )
        self.load('[agent]\ngreeting_cache = true\ngreeting = "{weekday} {date}"')

    def test_what_is_kept_depends_on_all_that_one_hears(self) -> None:
        shelf, head = Shelf(), '[agent]\ngreeting_cache = true\ngreeting = "Hi '
        self.opening(f'{head}there."', shelf).keep(8000, b"12")
        for text, found in (
            (f'{head}there."', b"12"),
            (f'{head}there."\nnoise_gate = 200', b"12"),
            (f'{head}you."', b""),
            (f'{head}there."\nvoice = "ash"', b""),
            (f'{head}there."\nmodel = "gpt-realtime-2.1-mini"', b""),
            (f'{head}there."\nspeed = 1.2', b""),
            (f'{head}there."\nlanguage = "es"', b""),
            (f'{head}there."\ninstructions = "Speak like a pirate."', b""),
            ('[agent]\ngreeting = "Hi there."', b""),
        ):
            self.assertEqual(self.opening(text, shelf).at_hand(8000), found, text)

    def test_instructions_that_differ_only_by_the_caller_share_it(self) -> None:
        text = (
            '[agent]\ngreeting_cache = true\ngreeting = "Hi."\n'
            'instructions = "Help {caller_name}. It is {time}."'
        )
        shelf = Shelf()
        self.opening(text, shelf, caller_name="Ana").keep(8000, b"12")
        kept = self.opening(text, shelf, caller_name="Eva").at_hand(8000)
        self.assertEqual(kept, b"12")

    def test_protection_is_as_it_is_set(self) -> None:
        self.assertTrue(self.opening("[agent]\ngreeting_protected = true").protected)
        self.assertFalse(AgentSettings().greeting_protected)
