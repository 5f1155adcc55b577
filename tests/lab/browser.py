"""A real browser: Debian's Chromium without a screen, driven by playwright-core."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab.process import LabError, Process, wait_until
from tests.parts import need

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("PORTERO_CACHE") or HERE.parents[1] / ".cache")
PACKAGES = CACHE / "node"
SCREENSHOTS = CACHE / "screenshots"
"""What CI keeps."""
CHROMIUM = "chromium"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-dev-shm-usage", "--mute-audio"),
    # A page plays what it was told to play, as after a click.
    "--autoplay-policy=no-user-gesture-required",
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
DESK = (1440, 900)
TELEPHONE = (390, 844)
"""Width and height of windows."""
SECONDS = 10.0
"""For what should happen soon, on a busy machine."""
GRACE = 15.0
"""By how much an answer of the driver may be later than what it waits for."""


@functools.cache
def chromium() -> str:
    """
    @return: The path of the browser.
    @raise unittest.SkipTest: It cannot be had on this machine.
    """
    found = shutil.which(CHROMIUM)
    how = "(tests/lab/bootstrap installs it as root on Debian)"
    need(found is not None, f"{CHROMIUM} {how}")
    need(shutil.which("node") is not None, f"node {how}")
    for name in ("playwright-core", "axe-core"):
        there = (PACKAGES / "node_modules" / name).is_dir()
        need(there, f"the npm package {name} in {PACKAGES} {how}")
    return str(found)


class Browser(Process):
    """
    Starts in the constructor, with a profile of its own, ready when that returns.

    What it does is done in the order asked, each within a time.
    """

    def __init__(self, microphone: Path | None = None) -> None:
        """
        @param microphone: A WAV that it hears, once, from when a page begins to listen;
            L{None}: a beep each second.
        """
        command = chromium()
        # A Unix socket's path may have 107 bytes, so this stays out of the test's own,
        # long temporary folder.
        self._folder = Path(tempfile.mkdtemp(prefix="browser-", dir="/tmp"))
        flags = list(FLAGS)
        if microphone is not None:
            flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
        door = self._folder / "socket"
        self._socket: socket.socket | None = None
        driver = ["node", str(HERE / "browser.mjs"), str(PACKAGES), str(door), command]
        super().__init__(
            [*driver, *flags],
            self._folder / "browser.log",
            env={**os.environ, "TMPDIR": str(self._folder), "HOME": str(self._folder)},
            cwd=self._folder,
        )
        try:
            self.wait_for("the browser", lambda: "listening" in self.log, 30)
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(door))
        except BaseException:
            self.stop()
            raise
        self._answers = self._socket.makefile("rb")

    def open(
        self,
        url: str = "",
        size: tuple[int, int] = DESK,
        language: str = "en-GB",
        dark: bool = False,
    ) -> Page:
        """
        @param size: Of the window, in CSS pixels.
        @param language: That the reader prefers.
        @param dark: Whether they like it so.
        @return: A page in a window that shares no cookies with others.
        """
        number = self.do(
            "open",
            viewport=_viewport(size),
            locale=language,
            scheme="dark" if dark else "light",
        )
        page = Page(self, number)
        if url:
            page.goto(url)
        return page

    def do(self, what: str, seconds: float = SECONDS, **more: object) -> Any:
        """
        @param what: One of the acts of C{browser.mjs}.
        @param seconds: How long it may take.
        @return: Its value.
        @raise LabError: It failed.
        """
        if self._socket is None:
            raise LabError("the browser is closed")
        asked = {"do": what, "ms": round(seconds * 1000), **more}
        self._socket.settimeout(seconds + GRACE)
        try:
            self._socket.sendall(json.dumps(asked).encode() + b"\n")
            line = self._answers.readline()
        except OSError as error:
            raise LabError(f"{asked}: {error!r}\n{self.tail()}") from error
        if not line:
            raise LabError(f"{asked}: the browser is gone\n{self.tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise LabError(f"{asked}: {answer['error']}")
        return answer["value"]

    def stop(self, seconds: float = 10.0) -> int:
        """
        Close it, with all its pages.
        """
        if self._socket is not None:
            self._answers.close()
            self._socket.close()
            self._socket = None
            wait_until(lambda: not self.alive, seconds)
        status = super().stop(seconds)
        shutil.rmtree(self._folder, ignore_errors=True)
        return status


class Page:
    """
    A page in its window.

    C{at} is a CSS selector; of several elements it is the first. What is not there yet
    is waited for.
    """

    def __init__(self, browser: Browser, number: int) -> None:
        self._browser = browser
        self._number = number

    def goto(self, url: str) -> int:
        """
        @return: The HTTP status.
        """
        status: int = self._do("goto", 20.0, url=url)
        return status

    def reload(self) -> None:
        self._do("reload", 20.0)

    def close(self) -> None:
        self._do("close")

    def click(self, at: str, seconds: float = SECONDS) -> None:
        """
        Click when it can be clicked: seen, not covered, enabled.
        """
        self._do("click", seconds, at=at)

    def fill(self, at: str, text: str) -> None:
        self._do("fill", at=at, text=text)

    def choose(self, at: str, value: str) -> None:
        """
        In a C{select}.
        """
        self._do("choose", at=at, text=value)

    def press(self, keys: str) -> None:
        """
        @param keys: As playwright names them: C{Enter}, C{Shift+Tab}.
        """
        self._do("press", keys=keys)

    def text(self, at: str) -> str:
        """
        @return: What a reader reads there.
        """
        return str(self._do("text", at=at))

    def texts(self, at: str) -> list[str]:
        """
        @return: Of all those that are there now.
        """
        found: list[str] = self._do("texts", at=at)
        return found

    def enabled(self, at: str) -> bool:
        return bool(self._do("enabled", at=at))

    def count(self, at: str) -> int:
        return int(self._do("count", at=at))

    def evaluate(self, code: str) -> Any:
        """
        @param code: A JavaScript expression; a promise is waited for.
        """
        return self._do("evaluate", code=code)

    def until(self, code: str, seconds: float = SECONDS) -> Any:
        """
        @param code: A JavaScript expression.
        @return: Its first value that counts as true.
        @raise LabError: There is none in time; with what the reader sees instead.
        """
        found = self._do("until", seconds, code=code)
        if not found:
            shown = self._do("evaluate", code="document.body.innerText")
            raise LabError(
                f"not within {seconds} s: {code}\n--- the page ---\n{shown[:3000]}\n"
                f"--- told ---\n{json.dumps(self.told(), indent=1)[:3000]}"
            )
        return found

    def shows(self, at: str, text: str, seconds: float = SECONDS) -> None:
        """
        Wait until one of the elements there has this in its text, and can be seen.
        """
        self.until(
            f"[...document.querySelectorAll({json.dumps(at)})].some(found =>"
            f" found.checkVisibility() &&"
            f" found.innerText.includes({json.dumps(text)}))",
            seconds,
        )

    def appears(self, at: str, seconds: float = SECONDS) -> None:
        """
        Wait until there is such an element that can be seen.
        """
        self.until(
            f"[...document.querySelectorAll({json.dumps(at)})].some(found =>"
            " found.checkVisibility())",
            seconds,
        )

    def vanishes(self, at: str, seconds: float = SECONDS) -> None:
        """
        Wait until no such element can be seen.
        """
        self.until(
            f"[...document.querySelectorAll({json.dumps(at)})].every(found =>"
            " !found.checkVisibility())",
            seconds,
        )

    def resize(self, size: tuple[int, int]) -> None:
        self._do("resize", viewport=_viewport(size))

    def dark(self, dark: bool = True) -> None:
        self._do("scheme", scheme="dark" if dark else "light")

    def screenshot(self, path: Path) -> None:
        """
        @param path: Of a PNG: what the window shows.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._do("screenshot", 30.0, path=str(path))

    def download(self, at: str, path: Path) -> str:
        """
        Click there and keep the file that comes.

        @return: The name that it came with.
        """
        return str(self._do("download", at=at, path=str(path)))

    def axe(self) -> list[dict[str, Any]]:
        """
        @return: What axe-core finds wrong for readers with disabilities.
        """
        found: list[dict[str, Any]] = self._do("axe", 30.0)
        return found

    def told(self) -> Mapping[str, list[str]]:
        """
        @return: Since it was opened: messages of the C{console}; its C{errors} and
            uncaught exceptions; C{reports} against its content security policy;
            C{dialogs} that scripts opened; C{failed} requests.
        """
        found: Mapping[str, list[str]] = self._do("told")
        return found

    def cookies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._do("cookies")
        return found

    def weight(self) -> Mapping[str, int]:
        """
        @return: What it holds after a garbage collection: C{bytes} of JavaScript's
            heap, DOM C{nodes}, event C{listeners}.
        """
        found: Mapping[str, int] = self._do("weight", 30.0)
        return found

    def _do(self, what: str, seconds: float = SECONDS, **more: object) -> Any:
        return self._browser.do(what, seconds, page=self._number, **more)


def _viewport(size: tuple[int, int]) -> dict[str, int]:
    width, height = size
    return {"width": width, "height": height}
