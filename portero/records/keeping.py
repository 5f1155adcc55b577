"""What is kept of calls, put together as the configuration says."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from portero.captures.folder import Captures
from portero.config import Config
from portero.errors import ConfigError
from portero.observers.measuring import Measuring
from portero.observers.recording import Recordings
from portero.observers.records import Records
from portero.record_sections import NOWHERE
from portero.records.archive import Archive, Told
from portero.records.database import RecordFile
from portero.records.disk_thread import DiskThread
from portero.records.retention import Delete, Retention
from portero.service import Bridge


class Keeping:
    """Records, recordings and captures, as far as there is a place for them."""

    log = Logger()

    def __init__(self, config: Config, reactor: Any, state_folder: str = "") -> None:
        """
        @param state_folder: Where they are if the configuration names no place; empty:
            nowhere then.
        @raise ConfigError: An agent records, and there is no folder for that; or it
            captures.
        """
        self._config = config
        self._file: RecordFile | None = None
        self._records: Records | None = None
        self._measuring = Measuring(reactor)
        self._recordings: Recordings | None = None
        self._captures: Captures | None = None
        self._thread = DiskThread(reactor)
        folder = _place(config.records.recordings, state_folder, "recordings")
        path = _place(config.records.file, state_folder, "records.sqlite")
        kinds: dict[str, Delete] = {}
        if folder:
            self._recordings = Recordings(folder, reactor, self._thread)
            kinds["recordings"] = self._recordings.delete
        folder = _place(config.records.captures, state_folder, "captures")
        if folder:
            self._captures = Captures(folder, reactor, self._thread)
            kinds["captures"] = self._captures.delete
        if path:
            self._file = RecordFile(path, reactor)
            self._records = Records(
                self._file, reactor, self._recording_of, self._measuring.of
            )
            kinds["records"] = self._records.delete
        self._retention = Retention(kinds, config.records.days, reactor)
        self.check(config)
        self.use(config)

    def _recording_of(self, call_id: str) -> str:
        recordings = self._recordings
        return "" if recordings is None else recordings.name_of(call_id)

    def begin(self, bridge: Bridge) -> None:
        """From now on, calls of this bridge are kept."""
        if self._records is not None or self._config.listen.web:  # who would ask
            bridge.watchers.add(self._measuring)
        if self._recordings is not None or self._captures is not None:
            bridge.runs_on(self._thread)
        if self._recordings is not None:
            bridge.runs_on(self._recordings)
            bridge.watchers.add(self._recordings)
        if self._captures is not None:
            bridge.runs_on(self._captures)
            bridge.watchers.add(self._captures)
            bridge.make_call = self._captures.make_call
        if self._records is not None:  # which ask the others, so after them
            bridge.runs_on(self._records)
            bridge.watchers.add(self._records)
        bridge.runs_on(self._retention)  # the first to stop: it has these at work

    def archive(
        self,
        bridge: Bridge,
        story: Told,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> Archive:
        """
        @param in_thread: Runs a function where it may wait for a disk.
        @return: What finds calls that are over; it has to watch them.
        """
        return Archive(
            bridge.ended,
            story,
            in_thread,
            self._file,
            self._recordings,
            self._measuring.of,
        )

    def check(self, config: Config) -> None:
        """@raise ConfigError: It asks for what L{use} cannot do."""
        for name, agent in config.agents.items():
            for key, wanted, where, there in (
                ("record", agent.record, "recordings", self._recordings),
                ("capture", agent.capture, "captures", self._captures),
            ):
                if wanted and there is None:
                    raise ConfigError(
                        f"[records] {where} is missing, and agent {name} has {key} = "
                        "true: name a folder (systemd's StateDirectory= would be one)"
                    )

    def use(self, config: Config) -> None:
        """Of calls that begin from now on, keep what C{config} says."""
        before, self._config = self._config, config
        agents = config.agents
        if self._recordings is not None:
            self._recordings.use(name for name in agents if agents[name].record)
        if self._captures is not None:
            self._captures.use(name for name in agents if agents[name].capture)
        if self._records is not None:
            whole = config.records.numbers == "whole"
            self._records.use(agents, whole_numbers=whole)
        self._retention.days = config.records.days
        for key in ("file", "recordings", "captures"):
            if getattr(before.records, key) != getattr(config.records, key):
                self.log.warn(
                    "[records] {key}: changed, which takes a restart", key=key
                )

    def verify(self) -> None:
        """Warn of what is not as it seems, though calls work."""
        for name, agent in self._config.agents.items():
            if not agent.keep_words:
                continue
            if self._records is None:
                self.log.warn(
                    "agent {name} has keep_words = true, but there are no records: "
                    "name a file in [records] file",
                    name=name,
                )
            elif not agent.transcription_model:
                self.log.warn(
                    "agent {name} has keep_words = true, but transcription_model is "
                    "empty: only what the agent itself says is kept",
                    name=name,
                )


def _place(named: str, state_folder: str, name: str) -> str:
    """@return: Path, or empty: nowhere."""
    if named == NOWHERE:
        return ""
    return named or (os.path.join(state_folder, name) if state_folder else "")
