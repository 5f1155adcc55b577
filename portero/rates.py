"""One direction of a call whose two ends may each change their sampling rate."""

from __future__ import annotations

from portero.resample import Resampler


class RateMatcher:
    """Resamples from whatever rate comes to whatever rate is wanted, streaming."""

    def __init__(self) -> None:
        self._rates = (0, 0)
        self._resampler: Resampler | None = None
        self._kept = bytearray()

    def match(self, pcm: bytes, rate: int, wanted: int, piece: float = 0.0) -> bytes:
        """
        @param pcm: At C{rate} Hz.
        @param piece: Seconds to collect before any of it is resampled: one long piece
            costs half as much as three short ones.
        @return: At C{wanted} Hz: what is due of it.
        """
        if rate == wanted:
            return pcm
        resampler, kept = self._resampler, self._kept
        if resampler is None or self._rates != (rate, wanted):
            # What was kept at the old rate is less than a piece.
            kept.clear()
            self._rates = rate, wanted
            resampler = self._resampler = Resampler(rate, wanted)
        if piece:
            kept += pcm
            if len(kept) < int(piece * rate) * 2:
                return b""
            pcm = bytes(kept)
            kept.clear()
        return resampler.process(pcm)
