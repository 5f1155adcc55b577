"""
What recording costs: the CPU time of a portero under calls, and how late its frames
leave, with the sound of every call kept and without, in turns within one run.

Each turn has a portero of its own, as a call is recorded from its beginning or not at
all. For example::

    python bench/recording.py --calls 50
    python bench/recording.py --calls 50 --folder /var/lib/portero/recordings

needs gcc and make, as C{capacity.py} does, whose load and bookkeeping it uses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
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
    wait_for,
    waiting_seconds,
    window,
)
from viewers import get, lateness, p99

CONFIG = """
[agent]
record = true
consent = "agreement"
[records]
file = "none"
recordings = "{folder}"
"""
WRONG = ("lost", "missing", "silence_inside", "silent_calls", "ended_early")


@dataclass(frozen=True)
class Turn:
    """One of them, recorded or not."""

    recorded: bool
    cpu_ms: float
    """For each second of each call."""
    waited: float
    """Share of the time in which others had portero's core."""
    late_ms: float
    """p99 of its frames' lateness."""
    skipped: int
    """Frames of all calls that were given up after a stall."""
    sent: int
    files: int
    """Recordings that can be played, as long as their calls were sent to."""
    wrong: tuple[str, ...]
    """What the load found."""


def whole(folder: Path, calls: dict[str, int]) -> int:
    """@param calls: Frames that were due, by the call's id."""
    found = 0
    for path in folder.glob("*.wav"):
        with wave.open(str(path), "rb") as file:
            length = file.getnframes()
            played = len(file.readframes(length)) // 4
        due = calls[path.stem.partition("-")[2]]
        found += played == length and length // 160 >= due
    return found


def figures(port: int) -> list[tuple[str, dict[str, int]]]:
    """@return: Of each call, once all are over: its id, and what it measured."""
    while json.loads(get(port, "/calls"))["calls"]:
        time.sleep(0.1)
    found = json.loads(get(port, "/api/v1/history?limit=200"))["calls"]
    ids = [one["id"] for one in found]
    return [(id, json.loads(get(port, f"/api/v1/calls/{id}"))["figures"]) for id in ids]


def take_turn(options: argparse.Namespace, recorded: bool) -> Turn:
    cores = sorted(os.sched_getaffinity(0))
    mine, others = {cores[0]}, set(cores[1:] or cores)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        under = options.folder or home
        kept = stack.enter_context(tempfile.TemporaryDirectory(dir=under))
        folder = Path(kept) / "recordings"
        port, service_port, web = free_port(), free_port(), free_port()
        url = f"ws://127.0.0.1:{service_port}/v1/realtime"
        bridge = Bridge("portero", options.format, 60)
        command, env = bridge_command(bridge, port, url, None, home)
        if recorded:
            with (home / "portero.toml").open("a") as settings:
                settings.write(CONFIG.format(folder=folder))
        log = home / "bridge.log"
        command += ["--web", str(web)]
        child = stack.enter_context(process(command, mine, log, env=env, cwd=home))
        wait_for(child, port, log)
        command = [str(HERE / "load"), "--calls", str(options.calls)]
        command += ["--audiosocket", f"127.0.0.1:{port}", "--format", bridge.format]
        command += ["--service-port", str(service_port), "--ramp", "10"]
        command += ["--seconds", str(options.seconds)]
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
        before, cpu = lateness(web), cpu_seconds(child.pid)
        waited = waiting_seconds(child.pid)
        window(load.stderr, "window end", said)
        cpu = cpu_seconds(child.pid) - cpu
        waited = waiting_seconds(child.pid) - waited
        after = lateness(web)
        found = json.loads(load.stdout.read())
        calls = figures(web)
        child.terminate()
        child.wait()
        due = {id: one["frames_sent"] + one["frames_skipped"] for id, one in calls}
        return Turn(
            recorded,
            1000 * cpu / options.seconds / options.calls,
            waited / options.seconds,
            p99(before, after),
            sum(one["frames_skipped"] for _, one in calls),
            sum(one["frames_sent"] for _, one in calls),
            whole(folder, due),
            tuple(f"{found[name]} {name}" for name in WRONG if found[name]),
        )


HEAD = (
    f"{'recorded':>9}{'CPU ms/call':>13}{'wait':>8}{'late p99':>11}"
    f"{'given up':>10}{'of frames':>11}{'whole files':>13}"
)


def row(turn: Turn) -> str:
    recorded = "yes" if turn.recorded else "no"
    return (
        f"{recorded:>9}{turn.cpu_ms:13.2f}{turn.waited:8.1%}{turn.late_ms:8.2f} ms"
        f"{turn.skipped:10}{turn.sent:11}{turn.files:13}  {', '.join(turn.wrong)}"
    )


def summary(turns: list[Turn]) -> None:
    without, having = turns[::2], turns[1::2]
    costs = [b.cpu_ms - a.cpu_ms for a, b in zip(without, having, strict=True)]
    print(
        f"recording costs {statistics.median(costs):.2f} ms of CPU for each second of "
        f"a call, beside {statistics.median(t.cpu_ms for t in without):.2f}; lateness "
        f"p99 {statistics.median(t.late_ms for t in without):.2f} ms without, "
        f"{statistics.median(t.late_ms for t in having):.2f} ms with it"
    )


def main() -> int:
    about = (__doc__ or "").strip().partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=" ".join(about.split()))
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--format", default="pcmu")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=16.0, help="of a turn")
    parser.add_argument("--folder", help="the disk to measure: some folder on it")
    options = parser.parse_args()
    subprocess.run(["make", "-s", "-C", str(HERE)], check=True)
    print(HEAD)
    turns = []
    for n in range(2 * options.pairs):
        turns.append(take_turn(options, recorded=bool(n % 2)))
        print(row(turns[-1]), flush=True)
    summary(turns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
