"""
Formats, G.711, levels, fades and WAV files: pure functions on PCM.

PCM is signed 16-bit little-endian mono C{bytes}, of even length.
"""

from __future__ import annotations

import math
import struct
import wave
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PCM: Final = "pcm"
PCMU: Final = "pcmu"
PCMA: Final = "pcma"
UNSURE: Final = "unsure"

G711_RATE: Final = 8000
"""In Hz, of both laws."""

SERVICE_PCM_RATE: Final = 24000
"""In Hz: PCM of realtime voice services."""

RATES: Final = {PCM: SERVICE_PCM_RATE, PCMU: G711_RATE, PCMA: G711_RATE}
"""Format name to its rate in Hz, as a voice service sends and takes it."""

SILENCE_DBFS: Final = -96.0
"""The lowest level that L{level_dbfs} gives: the step of 16 bits."""


# G.711. Codes by the decision values of ITU-T G.711 (tables 1a to 2b) for samples
# scaled to 16 bits. At a tie the larger magnitude wins, on both sides of zero with
# mu-law; A-law has no zero, so its two sides are each other's complement.


def _ulaw_encoder() -> NDArray[np.uint8]:
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(sample), 32635) + 132
    segment = np.frexp(magnitude)[1] - 8  # exponents of 132..32767 are 8..15
    code = segment << 4 | magnitude >> (segment + 3) & 15
    signed: NDArray[np.int32] = np.where(sample < 0, 0x80 | code, code)
    return (~signed & 0xFF).astype(np.uint8)


def _ulaw_decoder() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


def _alaw_encoder() -> NDArray[np.uint8]:
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(sample < 0, ~sample, sample)
    segment = np.maximum(np.frexp(magnitude)[1] - 8, 0)
    code = segment << 4 | magnitude >> (np.maximum(segment, 1) + 3) & 15
    signed: NDArray[np.int32] = np.where(sample < 0, code, 0x80 | code)
    return (signed ^ 0x55).astype(np.uint8)


def _alaw_decoder() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55
    segment = code >> 4 & 7
    step = ((code & 15) << 4) + 8
    magnitude = np.where(segment, step + 256 << np.maximum(segment - 1, 0), step)
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


_ULAW_ENCODER: Final = _ulaw_encoder()
_ULAW_DECODER: Final = _ulaw_decoder()
_ALAW_ENCODER: Final = _alaw_encoder()
_ALAW_DECODER: Final = _alaw_decoder()


def ulaw_encode(pcm: bytes) -> bytes:
    """Code PCM as G.711 mu-law, one byte for each sample."""
    return _ULAW_ENCODER.take(np.frombuffer(pcm, "<u2")).tobytes()


def ulaw_decode(data: bytes) -> bytes:
    """Decode G.711 mu-law to PCM."""
    return _ULAW_DECODER.take(np.frombuffer(data, np.uint8)).tobytes()


def alaw_encode(pcm: bytes) -> bytes:
    """Code PCM as G.711 A-law, one byte for each sample."""
    return _ALAW_ENCODER.take(np.frombuffer(pcm, "<u2")).tobytes()


def alaw_decode(data: bytes) -> bytes:
    """Decode G.711 A-law to PCM."""
    return _ALAW_DECODER.take(np.frombuffer(data, np.uint8)).tobytes()


def level_dbfs(pcm: bytes) -> float:
    """
    The RMS level in dB relative to full scale: a full-scale square wave has 0, a sine
    -3.01. Silence, and nothing at all, have L{SILENCE_DBFS}, never minus infinity.
    """
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    energy = float(samples @ samples)
    if not energy:
        return SILENCE_DBFS
    return max(10 * math.log10(energy / len(samples) / 2**30), SILENCE_DBFS)


def peak(pcm: bytes) -> int:
    """The largest magnitude, 0 to 32768."""
    samples = np.frombuffer(pcm, "<i2")
    return max(int(samples.max()), -int(samples.min())) if len(samples) else 0


def silence(n_samples: int) -> bytes:
    """Digital silence."""
    return bytes(2 * n_samples)


@cache
def _ramp(samples: int) -> NDArray[np.float64]:
    return (np.arange(samples) + 0.5) / samples


def fade_in(pcm: bytes, samples: int) -> bytes:
    """Let the first samples rise linearly from nothing, or all if there are fewer."""
    samples = min(samples, len(pcm) // 2)
    if samples <= 0:
        return pcm
    head = np.frombuffer(pcm, "<i2", samples) * _ramp(samples)
    return head.astype("<i2").tobytes() + pcm[2 * samples :]


def fade_out(pcm: bytes, samples: int) -> bytes:
    """Let the last samples fall linearly to nothing, or all if there are fewer."""
    samples = min(samples, len(pcm) // 2)
    if samples <= 0:
        return pcm
    start = len(pcm) - 2 * samples
    tail = np.frombuffer(pcm, "<i2", samples, start) * _ramp(samples)[::-1]
    return pcm[:start] + tail.astype("<i2").tobytes()


# Which coding are these bytes in?
#
# Each coding is taken as a hypothesis: the samples it would give are described by a
# predictor of order 2 in blocks of 20 ms (at 8 kHz), and the bits that this description
# needs for each byte of the input are counted. It is the likelihood of the bytes, so
# codings of different step and width can be compared. Sound decoded wrongly is noise at
# full scale and needs about 8 bits or more; decoded rightly it needs 1 to 7.

BLOCK: Final = 160
"""Bytes that are described together: long enough for a predictor."""

LEAST_BYTES: Final = 2 * BLOCK
LEAST_MARGIN: Final = 0.5
"""Bits per byte that the second best description must need more than the best."""
MOST_BITS: Final = 7.6
"""A description that hardly saves anything describes noise, of whatever kind."""
MOST_OFFSET: Final = 0.25
"""Part of the power that may be a constant: sound has none, a wrong decoding of
silence has nothing else. Counted from L{OFFSET_FLOOR}, as converters have some."""
OFFSET_FLOOR: Final = 200.0
FEW_VALUES: Final = 4
"""A tone of a quarter of the rate has no more values than this: not enough to tell."""
QUIET: Final = 24.0
"""Below this RMS few values are normal: silence, and the noise of a converter."""


def _bits_per_byte(samples: NDArray[np.int16], step: NDArray[np.float64]) -> float:
    """
    @param samples: Shape (blocks, samples in a block).
    @param step: The quantiser's step at each sample, same shape.
    """
    x = samples.astype(np.float64)
    length: int = x.shape[1]
    offset = float(x.mean())
    if abs(offset) > OFFSET_FLOOR and offset**2 > MOST_OFFSET * float((x * x).mean()):
        return 8.0
    r0, r1, r2 = (
        np.einsum("ij,ij->i", x[:, lag:], x[:, : length - lag]) for lag in range(3)
    )
    tiny = 1e-9
    k1 = r1 / (r0 + tiny)
    error = r0 * (1 - k1**2)
    k2 = (r2 - k1 * r1) / (error + tiny)
    power = np.maximum(error * (1 - k2**2), 0) / length
    power += (step**2).mean(axis=1) / 12  # what is finer than a step costs nothing
    spread = 0.5 * np.log2(2 * math.pi * math.e * power)
    bits = float(spread.mean()) - float(np.log2(step).mean())
    return bits * length / BLOCK


def _steps(decoder: NDArray[np.int16]) -> NDArray[np.float64]:
    """The distance of each code's value from its neighbours'."""
    values = np.unique(decoder).astype(np.float64)
    return np.gradient(values)[np.searchsorted(values, decoder)]


_ULAW_STEPS: Final = _steps(_ULAW_DECODER)
_ALAW_STEPS: Final = _steps(_ALAW_DECODER)


def guess_coding(data: bytes) -> str:
    """
    Tell from bytes alone what they are: L{PCM}, L{PCMU} or L{PCMA}, or L{UNSURE} when
    they are too few, or noise.

    For bytes from a peer that does not send what was agreed. Works at any rate, on
    speech, tones and quiet lines; 100 ms are enough for most and 300 ms for nearly all.

    @param data: The beginning of a stream, or any part that starts with a whole sample.
    """
    blocks = len(data) // BLOCK
    if len(data) < LEAST_BYTES:
        return UNSURE
    codes = np.frombuffer(data, np.uint8, blocks * BLOCK).reshape(blocks, BLOCK)
    varied = (codes != codes[:, :1]).any(axis=1)
    if varied.any():
        codes = codes[varied]  # a constant, 0xff at that, is silence in two codings
    readings = {
        PCM: (codes.view("<i2"), np.ones((len(codes), BLOCK // 2))),
        PCMU: (_ULAW_DECODER[codes], _ULAW_STEPS[codes]),
        PCMA: (_ALAW_DECODER[codes], _ALAW_STEPS[codes]),
    }
    described = sorted((_bits_per_byte(*readings[name]), name) for name in readings)
    (best, coding), (second, _) = described[:2]
    if best > MOST_BITS or second - best < LEAST_MARGIN:
        return UNSURE
    if len(np.unique(codes)) <= FEW_VALUES and readings[coding][0].std() > QUIET:
        return UNSURE
    return coding


class WavError(ValueError):
    """A file is not a WAV file that can be read; the message says what would be."""


class _Layout(NamedTuple):
    """What a C{fmt} chunk says."""

    coding: int
    channels: int
    rate: int
    width: int
    """Bytes of one sample of one channel."""


_LINEAR, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_WIDTHS: Final = {_LINEAR: (1, 2, 3, 4), _FLOAT: (4,), _ALAW: (1,), _ULAW: (1,)}
_UNKNOWN_SIZE: Final = 0xFFFFFFFF
_READABLE: Final = "PCM of 8, 16, 24 or 32 bits, 32-bit float, G.711 mu-law and A-law"
_REMEDY: Final = "to make one: ffmpeg -i THIS -ac 1 -ar 16000 -c:a pcm_s16le NEW.wav"
_FOREIGN: Final = (
    (0, b"ID3", "an MP3 file"),
    (0, b"OggS", "an Ogg file"),
    (0, b"fLaC", "a FLAC file"),
    (4, b"ftyp", "an MPEG-4 (M4A) file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b".snd", "a Sun AU file"),
    (8, b"AIFF", "an AIFF file"),
    (8, b"AIFC", "an AIFF file"),
    (0, b"RF64", "an RF64 file, for more than 4 GB"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (0, b"\xff\xfb", "an MP3 file"),
    (0, b"\xff\xf3", "an MP3 file"),
)
"""What other sound files begin with: where, with what, and what they are."""
_CODINGS: Final = {
    0x02: "Microsoft ADPCM",
    0x11: "IMA ADPCM",
    0x31: "GSM 06.10",
    0x50: "MPEG audio",
    0x55: "MP3",
    0xFF: "AAC",
}
"""What recorders and editors also put into WAV files."""


def read_wav(
    source: str | PathLike[str] | bytes, longest: float = math.inf
) -> tuple[int, bytes]:
    """
    Read a RIFF WAV file, whatever its rate; more channels are mixed down to one.

    A file that is cut short, or still being written, gives what is there.

    @param source: A path, or the file's bytes.
    @param longest: Seconds; a longer file is refused.
    @return: The rate in Hz, and PCM.
    @raise WavError: It cannot be read; the message says why and what can be.
    @raise OSError: There is no such file, or no permission.
    """
    if isinstance(source, bytes):
        name, data = "WAV data", source
    else:
        name, data = str(source), Path(source).read_bytes()
    try:
        layout, body = _chunks(data)
        seconds = len(body) / (layout.rate * layout.channels * layout.width)
        if seconds > longest:
            raise WavError(f"it lasts {seconds:.0f} s; {longest:g} s are the most")
        return layout.rate, _mono(layout, body)
    except WavError as error:
        raise WavError(f"{name}: {error}") from None


def _chunks(data: bytes) -> tuple[_Layout, bytes]:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        found = [what for at, sign, what in _FOREIGN if data.startswith(sign, at)]
        said = f"it is {found[0]}" if found else "no RIFF WAVE header"
        said = said if data else "it is empty"
        raise WavError(f"{said}; a WAV file is needed; {_REMEDY}")
    streamed = int.from_bytes(data[4:8], "little") in (0, _UNKNOWN_SIZE)
    layout, at = None, 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if kind == b"data":
            if layout is None:
                raise WavError("the data chunk comes before any fmt chunk")
            # Recorders write the size when they close the file.
            if size == _UNKNOWN_SIZE or (streamed and not size):
                size = len(data)
            return layout, data[at : at + size]
        if kind == b"fmt ":
            layout = _layout(data[at : at + size])
        at += size + (size & 1)
    missing = "fmt" if layout is None else "data"
    raise WavError(f"no {missing} chunk; the file is cut short or damaged")


def _layout(fmt: bytes) -> _Layout:
    if len(fmt) < 16:
        raise WavError(f"a fmt chunk of {len(fmt)} bytes; 16 or more are needed")
    coding, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", fmt)
    if coding == _EXTENSIBLE:
        if len(fmt) < 40:
            raise WavError(f"an extensible fmt chunk of {len(fmt)} bytes, not 40")
        (coding,) = struct.unpack_from("<H", fmt, 24)
    if not channels or not rate:
        raise WavError(f"{channels} channels at {rate} Hz; both must be positive")
    if coding not in _WIDTHS:
        named = f" ({_CODINGS[coding]})" if coding in _CODINGS else ""
        raise WavError(
            f"format {coding:#06x}{named} is not supported; {_READABLE} are; {_REMEDY}"
        )
    width, rest = divmod(block, channels)
    if rest or width not in _WIDTHS[coding] or not 0 < bits <= 8 * width:
        raise WavError(
            f"{bits} bits in blocks of {block} bytes for {channels} channel(s) of "
            f"format {coding} is not supported; {_READABLE} are; {_REMEDY}"
        )
    return _Layout(coding, channels, rate, width)


def _mono(layout: _Layout, body: bytes) -> bytes:
    """The samples as PCM; the last frame is left out when it is not whole."""
    block = layout.width * layout.channels
    body = body[: len(body) // block * block]
    if layout.coding in (_ULAW, _ALAW):
        body = (ulaw_decode if layout.coding == _ULAW else alaw_decode)(body)
    plain = layout.coding in (_ULAW, _ALAW) or (layout.coding, layout.width) == (1, 2)
    if plain and layout.channels == 1:
        return body
    samples: NDArray[np.float64]
    if plain:
        samples = np.frombuffer(body, "<i2").astype(np.float64)
    elif layout.coding == _FLOAT:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.frombuffer(body, "<f4").astype(np.float64) * 32768.0
        samples = np.nan_to_num(values, nan=0.0, posinf=32767.0, neginf=-32768.0)
    elif layout.width == 1:
        samples = (np.frombuffer(body, np.uint8).astype(np.float64) - 128) * 256
    else:
        # Left-aligned in 32 bits, whatever the number of valid ones.
        wide = np.zeros((len(body) // layout.width, 4), np.uint8)
        raw = np.frombuffer(body, np.uint8).reshape(-1, layout.width)
        wide[:, 4 - layout.width :] = raw
        samples = wide.view("<i4")[:, 0] / 65536.0
    mixed: NDArray[np.float64] = samples.reshape(-1, layout.channels).mean(axis=1)
    return np.rint(mixed).clip(-32768, 32767).astype("<i2").tobytes()


def write_wav(path: str | PathLike[str], rate: int, pcm: bytes) -> None:
    """
    Write a mono 16-bit WAV file.

    @param rate: In Hz.
    @raise OSError: It cannot be written.
    """
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
