"""A direction whose ends change their rates."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from portero.rates import RateMatcher


def noise(size: int) -> bytes:
    """@param size: In bytes."""
    return Random(size).randbytes(size)


class PieceTests(SynchronousTestCase):
    def test_short_pieces_are_collected_and_none_is_lost(self) -> None:
        speech = noise(9600)
        whole = RateMatcher().match(speech, 8000, 24000)
        matcher = RateMatcher()
        found = [
            matcher.match(speech[i : i + 320], 8000, 24000, 0.06)
            for i in range(0, 9600, 320)
        ]
        self.assertEqual([len(pcm) for pcm in found], [0, 0, 2880] * 10)
        self.assertEqual(b"".join(found), whole[: 10 * 2880])

    def test_a_piece_as_long_as_wanted_goes_through_at_once(self) -> None:
        matcher = RateMatcher()
        self.assertEqual(len(matcher.match(bytes(960), 8000, 24000, 0.06)), 2880)
        self.assertEqual(len(matcher.match(bytes(970), 8000, 24000, 0.06)), 2910)

    def test_what_was_kept_at_another_rate_is_not_mixed_in(self) -> None:
        matcher = RateMatcher()
        matcher.match(bytes(320), 8000, 24000, 0.06)
        wide = matcher.match(noise(16000)[:1920], 16000, 24000, 0.06)
        self.assertEqual(wide, RateMatcher().match(noise(16000)[:1920], 16000, 24000))

    def test_equal_rates_collect_nothing(self) -> None:
        self.assertEqual(RateMatcher().match(b"abcd", 8000, 8000, 0.06), b"abcd")


class RateMatcherTests(SynchronousTestCase):
    def test_equal_rates_change_nothing(self) -> None:
        pcm = bytes(range(200))
        self.assertIs(RateMatcher().match(pcm, 8000, 8000), pcm)

    def test_the_length_follows_the_rates_over_many_pieces(self) -> None:
        matcher = RateMatcher()
        given = b"".join(matcher.match(bytes(320), 8000, 24000) for _ in range(10))
        self.assertEqual(len(given), 3 * 3200)

    def test_a_stream_in_pieces_is_the_stream(self) -> None:
        pcm = bytes(range(256)) * 10
        whole = RateMatcher().match(pcm, 24000, 8000)
        matcher = RateMatcher()
        pieces = [
            matcher.match(pcm[n : n + 64], 24000, 8000) for n in range(0, 2560, 64)
        ]
        self.assertEqual(b"".join(pieces), whole)

    def test_a_new_rate_is_taken_as_it_comes(self) -> None:
        matcher = RateMatcher()
        self.assertEqual(len(matcher.match(bytes(320), 8000, 24000)), 960)
        self.assertEqual(len(matcher.match(bytes(640), 16000, 24000)), 960)
        self.assertEqual(len(matcher.match(bytes(640), 16000, 8000)), 320)
