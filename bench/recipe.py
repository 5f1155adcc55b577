"""
The usual recipe, as most open bridges are written: the baseline of the figures.

asyncio and websockets; C{scipy.signal.resample_poly} for every 20 ms frame in
both directions; the standard C{json} for every event; one C{append} for every
20 ms; one task a call that sleeps from frame to frame; 200 ms gathered before a
reply starts. With C{--format pcmu} nothing is resampled, which few of them do.

C{--down delta} resamples a whole delta at once instead of each of its frames.
"""

import argparse
import asyncio
import base64
import json
import ssl
import struct
import time
from collections import deque
from typing import Any

import numpy as np
import websockets
from scipy.signal import resample_poly  # type: ignore[attr-defined]  # no types

FRAME = 320
FRAME_SECONDS = 0.02
PREBUFFER_FRAMES = 10
SILENCE = bytes(FRAME)

# G.711 mu-law, ITU-T G.711 table 2a, for numpy to index.
_CODES = np.arange(256, dtype=np.uint8) ^ np.uint8(0xFF)
_VALUES = (
    ((_CODES & 15).astype(np.int32) << 3) + 0x84 << ((_CODES & 0x70) >> 4)
) - 0x84
DECODE = np.where(_CODES & 0x80, -_VALUES, _VALUES).astype(np.int16)


def _encode_table() -> np.ndarray:
    pcm = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    sign = np.where(pcm < 0, 0x80, 0)
    level = np.minimum(np.abs(pcm) + 0x84, 0x7FFF)
    exponent = np.floor(np.log2(level)).astype(np.int32) - 7
    code = sign | exponent << 4 | level >> (exponent + 3) & 15
    table: np.ndarray = (~code & 0xFF).astype(np.uint8)
    return table


ENCODE = _encode_table()


def resample(pcm: bytes, up: int, down: int) -> bytes:
    samples = np.frombuffer(pcm, dtype=np.int16).astype(np.float32)
    resampled = resample_poly(samples, up, down)
    audio: bytes = np.clip(resampled, -32768, 32767).astype(np.int16).tobytes()
    return audio


class Call:
    """One telephone call and its conversation."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        options: argparse.Namespace,
        context: ssl.SSLContext | None,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.options = options
        self.context = context
        self.frames: deque[bytes] = deque()
        self.rest = b""
        self.playing = False
        self.ended = False
        self.item = ""
        self.heard_ms = 0
        self.ready = asyncio.Event()

    async def run(self) -> None:
        kind, _ = await self.read_frame()
        if kind != 0x01:
            self.writer.close()
            return
        async with websockets.connect(
            self.options.url,
            additional_headers={"Authorization": "Bearer bench"},
            compression=None,
            max_size=None,
            ssl=self.context,
        ) as socket:
            tasks = [
                asyncio.create_task(self.caller_to_service(socket)),
                asyncio.create_task(self.service_to_queue(socket)),
                asyncio.create_task(self.queue_to_caller()),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.writer.close()

    async def read_frame(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BH", await self.reader.readexactly(3))
        return kind, await self.reader.readexactly(length)

    async def caller_to_service(self, socket: Any) -> None:
        while True:
            kind, payload = await self.read_frame()
            if kind != 0x10 or not self.ready.is_set():
                continue
            if self.options.format == "pcm":
                audio = resample(payload, 3, 1)
            else:
                audio = ENCODE[np.frombuffer(payload, dtype=np.uint16)].tobytes()
            event = {
                "type": "input_audio_buffer.append",
                "audio": base64.b64encode(audio).decode("ascii"),
            }
            await socket.send(json.dumps(event))

    async def service_to_queue(self, socket: Any) -> None:
        async for text in socket:
            event = json.loads(text)
            kind = event["type"]
            if kind == "session.created":
                await socket.send(json.dumps(self.session_update()))
            elif kind == "session.updated":
                self.ready.set()
            elif kind == "response.output_audio.delta":
                if event["item_id"] != self.item:
                    self.item, self.heard_ms = event["item_id"], 0
                self.queue(base64.b64decode(event["delta"]))
            elif kind == "input_audio_buffer.speech_started" and self.frames:
                self.frames.clear()
                self.rest = b""
                self.playing = False
                truncate = {
                    "type": "conversation.item.truncate",
                    "item_id": self.item,
                    "content_index": 0,
                    "audio_end_ms": self.heard_ms,
                }
                await socket.send(json.dumps(truncate))

    def session_update(self) -> dict[str, Any]:
        audio_format: dict[str, Any] = {"type": "audio/" + self.options.format}
        if self.options.format == "pcm":
            audio_format["rate"] = 24000
        return {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {
                        "format": audio_format,
                        "turn_detection": {"type": "server_vad"},
                    },
                    "output": {"format": audio_format, "voice": "marin"},
                },
            },
        }

    def queue(self, audio: bytes) -> None:
        if self.options.format == "pcmu":
            audio = DECODE[np.frombuffer(audio, dtype=np.uint8)].tobytes()
        elif self.options.down == "delta":
            audio = resample(audio, 1, 3)
        size = FRAME
        if self.options.format == "pcm" and self.options.down == "frame":
            size = 3 * FRAME
        audio = self.rest + audio
        whole = len(audio) // size * size
        for at in range(0, whole, size):
            frame = audio[at : at + size]
            self.frames.append(frame if size == FRAME else resample(frame, 1, 3))
        self.rest = audio[whole:]

    async def queue_to_caller(self) -> None:
        header = struct.pack(">BH", 0x10, FRAME)
        due = time.monotonic()
        while True:
            if not self.playing and len(self.frames) >= PREBUFFER_FRAMES:
                self.playing = True
            frame = SILENCE
            if self.playing and self.frames:
                frame = self.frames.popleft()
                self.heard_ms += 20
                self.playing = bool(self.frames)
            self.writer.write(header + frame)
            await self.writer.drain()
            due += FRAME_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--url", required=True, help="of the voice service")
    parser.add_argument("--format", choices=("pcmu", "pcm"), default="pcm")
    parser.add_argument("--down", choices=("frame", "delta"), default="frame")
    parser.add_argument("--ca-file", help="trust this CA instead of the system's")
    options = parser.parse_args()
    context = None
    if options.url.startswith("wss:"):
        context = ssl.create_default_context(cafile=options.ca_file)

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await Call(reader, writer, options, context).run()
        except (OSError, EOFError, websockets.ConnectionClosed):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", options.port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
