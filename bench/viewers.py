"""
What those who look on cost: the CPU time of a portero under calls, with viewers of the
live page's events and without, in turns within one run.

Between two turns the viewers come or go while the calls stay, so the machine's moods
are in both. For example::

    python bench/viewers.py --calls 100 --viewers 20
    python bench/viewers.py --calls 100 --viewers 20 --follow 10

needs gcc and make, as C{capacity.py} does, whose load and bookkeeping it uses.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from capacity import (
    HERE,
    Bridge,
    bridge_command,
    cpu_seconds,
    free_port,
    process,
    resident_kb,
    wait_for,
    waiting_seconds,
    window,
)

SETTLE = 3.0
"""Seconds between two turns that count for neither."""
LATENESS = "portero_frame_lateness_seconds_bucket"


class Viewers:
    """Read as browsers do: all that comes, at once."""

    def __init__(self, port: int, paths: list[str]) -> None:
        self.bytes = 0
        self.ended = 0
        """So many were dropped, or never let in."""
        self._sockets = selectors.DefaultSelector()
        self._on = True
        for path in paths:
            one = socket.create_connection(("127.0.0.1", port))
            asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
            one.sendall(asked.encode())
            self._sockets.register(one, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while self._on:
            for key, _ in self._sockets.select(0.2):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                data = one.recv(1 << 18)
                self.bytes += len(data)
                if not data:
                    self.ended += 1
                    self._sockets.unregister(one)
                    one.close()

    def leave(self) -> None:
        self._on = False
        self._thread.join()
        for key in list(self._sockets.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._sockets.close()


@dataclass(frozen=True)
class Turn:
    """One of them, with viewers or without."""

    viewers: int
    share: float
    """Of a core, that portero used."""
    waited: float
    """Share of the time in which others had its core."""
    late_ms: float
    """p99 of its frames' lateness."""
    rss_kb: int
    kb_a_second: float
    """To all viewers."""
    dropped: int


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as found:
        text: bytes = found.read()
    return text.decode()


def lateness(port: int) -> list[tuple[float, float]]:
    """@return: Upper edges in ms, and how many frames were not later, so far."""
    found = []
    for line in get(port, "/metrics").splitlines():
        if line.startswith(LATENESS):
            edge, count = line.partition('le="')[2].split('"} ')
            found.append((float(edge) * 1000, float(count)))
    return found


def p99(before: list[tuple[float, float]], after: list[tuple[float, float]]) -> float:
    """@return: Of the frames between the two, interpolated within a bucket."""
    counts = [(edge, b - a) for (edge, b), (_, a) in zip(after, before, strict=True)]
    wanted, low, seen = 0.99 * counts[-1][1], 0.0, 0.0
    for edge, count in counts:
        if count >= wanted:
            share = (wanted - seen) / (count - seen) if count > seen else 0.0
            return low + (edge - low) * share if edge < float("inf") else low
        low, seen = edge, count
    return low


def take_turn(pid: int, port: int, paths: list[str], seconds: float) -> Turn:
    viewers = Viewers(port, paths) if paths else None
    time.sleep(SETTLE)
    before, sent = lateness(port), viewers.bytes if viewers else 0
    began, cpu, waited = time.monotonic(), cpu_seconds(pid), waiting_seconds(pid)
    time.sleep(seconds)
    cpu, took = cpu_seconds(pid) - cpu, time.monotonic() - began
    waited = waiting_seconds(pid) - waited
    after, rss = lateness(port), resident_kb(pid)
    sent = viewers.bytes - sent if viewers else 0
    if viewers:
        viewers.leave()
    return Turn(
        len(paths),
        cpu / took,
        waited / took,
        p99(before, after),
        rss,
        sent / took / 1000,
        viewers.ended if viewers else 0,
    )


def measure(options: argparse.Namespace) -> tuple[list[Turn], list[str]]:
    """@return: The turns, and what the load found wrong with the calls."""
    cores = sorted(os.sched_getaffinity(0))
    mine, others = {cores[0]}, set(cores[1:] or cores)
    os.sched_setaffinity(0, others)
    bridge = Bridge("portero", options.format, 60)
    lasts = 2 * options.pairs * (options.seconds + SETTLE + 1)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port, service_port, web = free_port(), free_port(), free_port()
        url = f"ws://127.0.0.1:{service_port}/v1/realtime"
        command, env = bridge_command(bridge, port, url, None, home)
        log = home / "bridge.log"
        command += ["--web", str(web)]
        child = stack.enter_context(process(command, mine, log, env=env, cwd=home))
        wait_for(child, port, log)
        command = [str(HERE / "load"), "--calls", str(options.calls)]
        command += ["--audiosocket", f"127.0.0.1:{port}", "--format", bridge.format]
        command += ["--service-port", str(service_port), "--ramp", "10"]
        command += ["--seconds", str(round(lasts) + 10)]
        load = stack.enter_context(
            process(
                command,
                others,
                home / "load.log",
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
        assert load.stdout is not None and load.stderr is not None
        said: list[str] = []
        window(load.stderr, "window begin", said)
        calls = [one["id"] for one in json.loads(get(web, "/calls"))["calls"]]
        paths = ["/api/v1/events"] * (options.viewers - options.follow)
        paths += [f"/api/v1/events?call={one}" for one in calls[: options.follow]]
        turns = []
        for n in range(2 * options.pairs):
            turns.append(
                take_turn(child.pid, web, paths if n % 2 else [], options.seconds)
            )
            print(row(turns[-1]), flush=True)
        window(load.stderr, "window end", said)
        found = json.loads(load.stdout.read())
    wrong = ("lost", "missing", "silence_inside", "silent_calls", "ended_early")
    said += [f"{found[name]} {name}" for name in wrong if found[name]]
    return turns, said


HEAD = (
    f"{'viewers':>8}{'core':>8}{'wait':>8}{'late p99':>10}{'RSS kB':>9}"
    f"{'kB/s':>8}{'dropped':>9}"
)


def row(turn: Turn) -> str:
    return (
        f"{turn.viewers:8}{turn.share:8.1%}{turn.waited:8.1%}{turn.late_ms:7.2f} ms"
        f"{turn.rss_kb:9}{turn.kb_a_second:8.0f}{turn.dropped:9}"
    )


def summary(turns: list[Turn]) -> None:
    without, having = turns[::2], turns[1::2]
    # Each turn with viewers against the ones without on both its sides, as far as there
    # are two: what drifts evenly is in none of the differences.
    costs = []
    for n, turn in enumerate(having):
        beside = [one.share for one in without[n : n + 2]]
        costs.append(turn.share - statistics.fmean(beside))
    spread = statistics.stdev(costs) / len(costs) ** 0.5 if len(costs) > 1 else 0.0
    print(
        f"viewers cost {statistics.fmean(costs):.2%} of a core (standard error "
        f"{spread:.2%}); lateness p99 "
        f"{statistics.median(t.late_ms for t in without):.2f} ms without, "
        f"{statistics.median(t.late_ms for t in having):.2f} ms with them; RSS "
        f"{having[-1].rss_kb - having[0].rss_kb:+} kB from their first turn to their "
        "last"
    )


def main() -> int:
    about = (__doc__ or "").strip().partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=" ".join(about.split()))
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument(
        "--follow", type=int, default=0, help="so many of them look at one call each"
    )
    parser.add_argument("--format", default="pcmu")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a turn")
    options = parser.parse_args()
    subprocess.run(["make", "-s", "-C", str(HERE)], check=True)
    print(HEAD)
    turns, wrong = measure(options)
    summary(turns)
    for text in wrong:
        print("load:", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
