"""
How many calls one core of a bridge holds, and how exactly its frames leave.

Each run starts one bridge on one core and C{load} on the others, for a window of
two 8 s cycles, and takes the bridge's CPU time over exactly that window. Compare
bridges only within one invocation: read the figures as ratios. For example::

    python bench/capacity.py recipe:pcm limit:pcmu:60 portero:pcmu:60 --calls 40
    python bench/capacity.py recipe:pcm portero:pcmu:60 --search --tls

A bridge is C{NAME[:FORMAT[:UPLOAD_MS]]}; NAME is portero, recipe or limit. It
needs gcc and make for the C programs, and for the recipe websockets and scipy.
C{--tls} puts a haproxy between bridge and service and needs haproxy and openssl.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"


class CannotRunError(Exception):
    """A bridge cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Bridge:
    """What is measured: which program, which audio format, how it uploads."""

    name: str
    format: str
    upload_ms: int

    def __str__(self) -> str:
        return f"{self.name} {self.format} {self.upload_ms} ms"


@dataclass(frozen=True)
class Run:
    """One bridge under one load."""

    bridge: Bridge
    calls: int
    cpu_ms: float
    """CPU time in ms for each second of each call."""
    cpu_share: float
    """Of one core, 0 to 1."""
    waited: float
    """Share of the window in which others had the bridge's core, 0 to 1."""
    rss_kb: float
    """Resident memory for each call, in kB."""
    load: dict[str, Any]
    """What C{load} printed."""

    def p99(self, name: str) -> float:
        figures = self.load[name]
        return float("nan") if figures is None else float(figures["p99"])

    def top(self, name: str) -> float:
        figures = self.load[name]
        return float("nan") if figures is None else float(figures["max"])

    def why_not_held(self) -> list[str]:
        """
        @return: Why this number of calls is too much; empty when it is held.
        """
        load = self.load
        gone = ("lost", "missing", "silence_inside", "silent_calls", "ended_early")
        why = [f"{load[name]} {name}" for name in gone if load[name]]
        if load["ready"] < self.calls:
            why.append(f"only {load['ready']} sessions")
        if not self.p99("deviation_ms") <= 20:
            why.append("p99 deviation over 20 ms")
        if not self.top("uplink_missing_ms") <= 200:
            why.append("caller's audio incomplete")
        if self.cpu_share >= 0.95:
            why.append("core full")
        return why


# ------------------------------------------------------------------- processes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether somebody listens, found out without connecting (a phantom call)."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return True
    return False


@contextmanager
def process(
    arguments: list[str], cores: set[int], log: Path, **more: Any
) -> Iterator[subprocess.Popen[str]]:
    """Start a program on some cores; end it, and only it, afterwards."""
    with log.open("w") as output:
        child = subprocess.Popen(
            arguments,
            stdout=more.pop("stdout", output),
            stderr=more.pop("stderr", output),
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            **more,
        )
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for(child: subprocess.Popen[str], port: int, log: Path) -> None:
    limit = time.monotonic() + 30
    while not listening(port):
        if child.poll() is not None or time.monotonic() > limit:
            tail = "\n".join(log.read_text().splitlines()[-8:])
            raise CannotRunError(f"{child.args!r} does not listen:\n{tail}")
        time.sleep(0.1)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def waiting_seconds(pid: int) -> float:
    """How long it was ready to run while somebody else had its core, so far."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):  # a kernel without CONFIG_SCHED_INFO
        return float("nan")


def resident_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


# ------------------------------------------------------------------ the bridges


def bridge_command(
    bridge: Bridge, port: int, url: str, ca: Path | None, home: Path
) -> tuple[list[str], dict[str, str]]:
    """
    @return: The command line and the environment that start this bridge.
    """
    env = dict(os.environ)
    if bridge.name == "limit":
        if ca:
            raise CannotRunError("limit has no TLS")
        service_port = url.partition("//")[2].partition("/")[0].rpartition(":")[2]
        command = [str(HERE / "limit"), "--port", str(port)]
        command += ["--service-port", service_port, "--format", bridge.format]
        return [*command, "--upload-ms", str(bridge.upload_ms)], env
    if bridge.name.startswith("recipe"):
        if bridge.upload_ms != 20:
            raise CannotRunError("the recipe uploads every 20 ms")
        command = [sys.executable, str(HERE / "recipe.py"), "--port", str(port)]
        command += ["--url", url, "--format", bridge.format]
        if bridge.name == "recipe-delta":
            command += ["--down", "delta"]
        return command + (["--ca-file", str(ca)] if ca else []), env
    settings = home / "portero.toml"
    settings.write_text("[listen]\nmax_calls = 10000\n")
    env |= {
        "OPENAI_API_KEY": "bench",
        "OPENAI_REALTIME_URL": url,
        "PORTERO_UPLOAD_MS": str(bridge.upload_ms),
        "PORTERO_AUDIO_FORMAT": bridge.format,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), env.get("PYTHONPATH", "")]),
    }
    if ca:
        env["PORTERO_CA_FILE"] = str(ca)
    command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "portero"]
    command += ["--port", str(port), "--provider", "openai", "--config", str(settings)]
    return command, env


# -------------------------------------------------------------------------- TLS

HAPROXY = """
global
    nbthread 1
    maxconn 4000
    log stderr local0 err
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend service
    bind 127.0.0.1:{port} ssl crt {pem}
    default_backend load
backend load
    server load 127.0.0.1:{service_port}
"""


def certificate(home: Path) -> tuple[Path, Path]:
    """
    @return: A CA's certificate, and a file with the key and certificate that it
        gave to localhost.
    """
    ca, key, request, leaf = (home / n for n in ("ca.pem", "ca.key", "csr", "leaf"))
    extensions = home / "extensions"
    extensions.write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
        "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    commands = (
        "openssl req -newkey rsa:2048 -nodes -days 2 -x509 -subj /CN=bench"
        f" -addext keyUsage=critical,keyCertSign -keyout {key} -out {ca}",
        "openssl req -newkey rsa:2048 -nodes -subj /CN=localhost"
        f" -keyout {leaf} -out {request}",
        f"openssl x509 -req -in {request} -CA {ca} -CAkey {key} -CAcreateserial"
        f" -days 2 -extfile {extensions} -out {leaf}.crt",
    )
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True)
    pem = home / "leaf.pem"
    pem.write_text(Path(f"{leaf}.crt").read_text() + leaf.read_text())
    return ca, pem


def tls_front(stack: ExitStack, home: Path, cores: set[int], port: int) -> Any:
    """
    @return: The CA's file, and the port where TLS in front of C{port} listens.
    """
    for program in ("haproxy", "openssl"):
        if not shutil.which(program):
            raise CannotRunError(f"--tls needs {program}, which is not installed")
    ca, pem = certificate(home)
    front, log = free_port(), home / "haproxy.log"
    config = home / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=front, pem=pem, service_port=port))
    child = stack.enter_context(
        process(["haproxy", "-db", "-f", str(config)], cores, log)
    )
    wait_for(child, front, log)
    return ca, front


# ---------------------------------------------------------------------- measuring


def window(stream: IO[str], line: str, others: list[str]) -> None:
    """Read C{load}'s messages until it says C{line}."""
    for text in stream:
        if text.strip() == line:
            return
        others.append(text.strip())
    raise CannotRunError("load ended early: " + "; ".join(others))


def measure(bridge: Bridge, calls: int, options: argparse.Namespace) -> Run:
    """
    Run one bridge under one load.

    @raise CannotRunError: If the bridge does not start.
    """
    cores = sorted(os.sched_getaffinity(0))
    mine, others = {cores[0]}, set(cores[1:] or cores)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port, service_port = free_port(), free_port()
        url, ca = f"ws://127.0.0.1:{service_port}/v1/realtime", None
        if options.tls:
            ca, front = tls_front(stack, home, others, service_port)
            url = f"wss://localhost:{front}/v1/realtime"
        command, env = bridge_command(bridge, port, url, ca, home)
        log = home / "bridge.log"
        child = stack.enter_context(process(command, mine, log, env=env, cwd=home))
        wait_for(child, port, log)
        time.sleep(1)
        idle_kb = resident_kb(child.pid)
        command = [str(HERE / "load"), "--calls", str(calls)]
        command += ["--audiosocket", f"127.0.0.1:{port}", "--format", bridge.format]
        command += ["--service-port", str(service_port), "--ramp", str(options.ramp)]
        command += ["--seconds", str(options.seconds)]
        command += ["--barge-every", str(options.barge_every)]
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
        cpu, began = cpu_seconds(child.pid), time.monotonic()
        waited = waiting_seconds(child.pid)
        window(load.stderr, "window end", said)
        cpu, took = cpu_seconds(child.pid) - cpu, time.monotonic() - began
        waited = waiting_seconds(child.pid) - waited
        rss_kb = resident_kb(child.pid) - idle_kb
        figures = json.loads(load.stdout.read())
        if options.keep_log:
            shutil.copy(log, options.keep_log)
    run = Run(
        bridge,
        calls,
        cpu_ms=1000 * cpu / took / calls,
        cpu_share=cpu / took,
        waited=waited / took,
        rss_kb=rss_kb / calls,
        load=figures,
    )
    print(row(run), flush=True)
    for text in said:
        print("    load:", text, flush=True)
    return run


def search(bridge: Bridge, options: argparse.Namespace) -> list[Run]:
    """
    Find the greatest number of calls that is held, to about 5 %.

    @return: All runs, the last one at half of that number.
    """
    runs = [measure(bridge, options.first, options)]
    low, high = 0, 0
    guess = int(900 / runs[0].cpu_ms)
    if runs[0].why_not_held():
        high, guess = options.first, options.first // 2
    else:
        low = options.first
    for _ in range(options.tries):
        guess = max(1, min(guess, options.most))
        if guess <= low or (high and guess >= high):
            break
        runs.append(measure(bridge, guess, options))
        if runs[-1].why_not_held():
            high = guess
            guess = (low + high) // 2 if low * 1.3 > high else int(high * 0.85)
            guess = max(guess, low + 1)
        else:
            low = guess
            guess = (low + high) // 2 if high else int(low * 1.12)
        if high and high - low <= 0.05 * high:
            break
    runs.append(measure(bridge, max(1, low // 2), options))
    return runs


# ------------------------------------------------------------------------ printing

HEAD = (
    f"{'bridge':24}{'calls':>6}{'CPU ms':>8}{'core':>6}{'wait':>6}{'dev p99':>9}"
    f"{'max':>8}{'lost':>6}{'rep.':>6}{'broken':>8}{'sil.':>6}{'miss':>6}{'tail':>6}{'late':>6}"
    f"{'trunc':>7}{'up ms':>7}{'kB/call':>9}{'load p99':>10}  held"
)


def row(run: Run) -> str:
    load = run.load
    broken = 100 * load["broken"] / max(1, load["reply_frames"])
    return (
        f"{run.bridge!s:24}{run.calls:6}{run.cpu_ms:8.2f}{run.cpu_share:6.0%}{run.waited:6.1%}"
        f"{run.p99('deviation_ms'):9.2f}{run.top('deviation_ms'):8.1f}"
        f"{load['lost']:6}{load['repeated']:6}{broken:7.1f}%"
        f"{load['silence_inside']:6}{load['missing']:6}"
        f"{run.top('tail_frames'):6.0f}"
        f"{run.top('tail_frames_while_generating'):6.0f}"
        f"{run.top('truncate_error_ms'):7.0f}{run.top('uplink_missing_ms'):7.0f}"
        f"{run.rss_kb:9.0f}{run.p99('own_lateness_ms'):10.2f}"
        f"  {', '.join(run.why_not_held()) or 'yes'}"
    )


def held(runs: list[Run]) -> Run | None:
    return max(
        (r for r in runs if not r.why_not_held()), key=lambda r: r.calls, default=None
    )


def fits(run: Run) -> int:
    """
    @return: How many such calls would fill 95 % of a core. Unlike the number
        held, it does not depend on what else the machine does.
    """
    return int(950 / run.cpu_ms)


def summary(found: dict[Bridge, list[Run]]) -> None:
    """Print the ratios of this invocation."""
    best = {b: top for b, runs in found.items() if (top := held(runs))}
    recipe = next((best[b] for b in best if b.name.startswith("recipe")), None)
    print(
        f"\n{'bridge':24}{'held':>6}{'x recipe':>10}{'fits':>6}{'x recipe':>10}"
        f"{'CPU ms':>8}{'x limit':>9}{'dev p99 at half':>17}{'tail':>6}{'kB/call':>9}"
    )
    for bridge, runs in found.items():
        if bridge not in best:
            print(f"{bridge!s:24}  held no number of calls")
            continue
        top = best[bridge]
        limit = Bridge("limit", bridge.format, bridge.upload_ms)
        floor = min(
            found.get(limit, []),
            key=lambda run, top=top: abs(run.calls - top.calls),  # type: ignore[misc]
            default=None,
        )
        half = min(runs, key=lambda run: abs(run.calls - top.calls / 2))
        by_held = f"{top.calls / recipe.calls:.1f}" if recipe else "-"
        by_cpu = f"{recipe.cpu_ms / top.cpu_ms:.1f}" if recipe else "-"
        over = f"{top.cpu_ms / floor.cpu_ms:.1f}" if floor else "-"
        tail = max(run.top("tail_frames") for run in runs)
        print(
            f"{bridge!s:24}{top.calls:6}{by_held:>10}{fits(top):6}{by_cpu:>10}"
            f"{top.cpu_ms:8.2f}{over:>9}"
            f"{half.p99('deviation_ms'):11.2f} @{half.calls:<4}"
            f"{tail:6.0f}{top.rss_kb:9.0f}"
        )


def bridge_from(text: str, options: argparse.Namespace) -> Bridge:
    name, *rest = text.split(":")
    if name not in ("portero", "recipe", "recipe-delta", "limit"):
        raise SystemExit(f"{name}: there are portero, recipe, recipe-delta and limit")
    usual = name.startswith("recipe")
    audio_format = rest[0] if rest else "pcm" if usual else options.format
    upload_ms = int(rest[1]) if len(rest) > 1 else 20 if usual else options.upload_ms
    return Bridge(name, audio_format, upload_ms)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bridges", nargs="*", metavar="BRIDGE")
    parser.add_argument("--bridge", action="append", default=[], help="the same")
    parser.add_argument("--format", choices=("pcmu", "pcm"), default="pcmu")
    parser.add_argument("--upload-ms", type=int, choices=(20, 40, 60), default=60)
    parser.add_argument("--calls", default="40", help="numbers with commas (40)")
    parser.add_argument("--search", action="store_true", help="find the greatest")
    parser.add_argument("--first", type=int, default=20, help="--search begins here")
    parser.add_argument("--tries", type=int, default=6, help="--search tries at most")
    parser.add_argument("--most", type=int, default=1500, help="--search ends here")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--seconds", type=float, default=16)
    parser.add_argument("--ramp", type=float, default=20, help="ms between calls")
    parser.add_argument("--barge-every", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--keep-log", type=Path, help="keep the last bridge's log here")
    options = parser.parse_args()
    names = [*options.bridges, *options.bridge] or ["recipe", "limit", "portero"]
    subprocess.run(["make", "-s", "-C", str(HERE)], check=True)
    print(HEAD)
    found: dict[Bridge, list[Run]] = {}
    for bridge in (bridge_from(name, options) for name in names):
        try:
            if options.search:
                found[bridge] = search(bridge, options)
            else:
                found[bridge] = [
                    measure(bridge, int(calls), options)
                    for calls in options.calls.split(",")
                ]
        except CannotRunError as error:
            print(f"{bridge!s:24}skipped: {error}", flush=True)
    summary(found)
    if options.json:
        every = [
            vars(r) | {"bridge": str(r.bridge)} for rs in found.values() for r in rs
        ]
        options.json.write_text(json.dumps(every, indent=1) + "\n")


if __name__ == "__main__":
    main()
