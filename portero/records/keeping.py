"""What is kept of calls, put together as the configuration says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from portero.captures.folder import Captures
from portero.config import Config
from portero.errors import ConfigError
from portero.observers.measuring import Measuring
from portero.observers.recording import Recordings
from portero.observers.records import Records
from portero.records.archive import Archive, Told
from portero.records.disk_thread import DiskThread
from portero.records.erasing import Erasing
from portero.records.files import delete_unsent
from portero.records.past import Past
from portero.records.places import database, folders, place, this_host
from portero.records.retention import Delete, Retention
from portero.records.webhook import (
    Receiver,
    WebhookFolder,
    WebhookQueue,
    by_http,
    servers,
)
from portero.service import Bridge


class Keeping:
    """Records, recordings and captures, as far as there is a place for them."""

    log = Logger()

    def __init__(self, config: Config, reactor: Any, state_folder: str = "") -> None:
        """
        @param state_folder: Where they are if the configuration names no place; empty:
            nowhere then.
        @raise ConfigError: An agent records or captures, and there is no folder for
            that; or what is wanted of records cannot be.
        """
        self._config = config
        self._reactor = reactor
        self._state_folder = state_folder
        self._bridge: Bridge | None = None
        self._webhook: WebhookQueue | None = None
        self._records: Records | None = None
        self._measuring = Measuring(reactor)
        self._recordings: Recordings | None = None
        self._captures: Captures | None = None
        self._thread = DiskThread(reactor)
        folder = place(config.records.recordings, state_folder, "recordings")
        self._database = database(config, state_folder, reactor)
        kinds: dict[str, Delete] = {}
        if folder:
            self._recordings = Recordings(folder, reactor, self._thread)
            kinds["recordings"] = self._recordings.delete
        folder = place(config.records.captures, state_folder, "captures")
        if folder:
            self._captures = Captures(folder, reactor, self._thread)
            kinds["captures"] = self._captures.delete
        if self._database is not None:
            self._records = Records(
                *(self._database, reactor, self._recording_of, self._measuring.of),
                *(this_host(), self._send),
            )
            kinds["records"] = self._records.delete
        queue = self._queue_folder(config)
        if queue:
            kinds["records that were not sent"] = lambda before: self._thread(
                partial(delete_unsent, queue, before)
            )
        self._retention = Retention(kinds, config.records.days, reactor)
        self.check(config)
        self.use(config)

    def _recording_of(self, call_id: str) -> str:
        recordings = self._recordings
        return "" if recordings is None else recordings.name_of(call_id)

    def _send(self, past: Past) -> None:
        if self._webhook is not None and self._config.records.webhook:
            self._webhook.put(past)

    def begin(self, bridge: Bridge) -> None:
        """From now on, calls of this bridge are kept."""
        self._bridge = bridge
        if self._records is not None or self._config.listen.web:  # who would ask
            bridge.watchers.add(self._measuring)
        bridge.runs_on(self._thread)
        if self._recordings is not None:
            bridge.runs_on(self._recordings)
            bridge.watchers.add(self._recordings)
        if self._captures is not None:
            bridge.runs_on(self._captures)
            bridge.watchers.add(self._captures)
            bridge.make_call = self._captures.make_call
        if self._webhook is not None:
            bridge.runs_on(self._webhook)
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
        erasing = Erasing(
            self._database,
            (lambda _: False) if self._records is None else self._records.forget,
            folders(self._config.records, self._state_folder),
            self._queue_folder(self._config),
            self._thread,
        )
        return Archive(
            *(bridge.ended, story, in_thread),
            *(self._database, self._recordings, erasing),
            sound_of=self._measuring.of,
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
        if config.records.webhook:
            if self._database is None:
                raise ConfigError(
                    "[records] webhook needs records: name a file ([records] file)"
                )
            if not self._queue_folder(config):
                raise ConfigError(
                    "[records] webhook_queue is missing: name a folder where records "
                    "wait until they are taken (systemd's StateDirectory= would be one)"
                )

    def _queue_folder(self, config: Config) -> str:
        return place(config.records.webhook_queue, self._state_folder, "webhook")

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
        if config.records.webhook:  # without, what waits goes where it went
            self._use_webhook(config)
        self._retention.days = config.records.days
        for key in ("file", "url", "recordings", "captures", "webhook_queue"):
            if getattr(before.records, key) != getattr(config.records, key):
                self.log.warn(
                    "[records] {key}: changed, which takes a restart", key=key
                )

    def _use_webhook(self, config: Config) -> None:
        queue = self._webhook
        if queue is None:
            queue = self._webhook = WebhookQueue(
                WebhookFolder(self._queue_folder(config)),
                self._reactor,
                self._thread,
                by_http(servers(self._reactor)),
            )
            if self._bridge is not None:
                self._bridge.runs_on(queue)
        secret = config.secrets.records_webhook
        queue.use(Receiver.of(config.records, secret))

    @property
    def waiting(self) -> int:
        """Records that are not written yet."""
        return 0 if self._records is None else self._records.waiting

    @property
    def lost(self) -> int:
        """Records that were given up since the start."""
        return 0 if self._records is None else self._records.lost

    @property
    def unsent(self) -> int:
        """Records that the webhook has not taken yet."""
        return 0 if self._webhook is None else self._webhook.waiting

    @property
    def given_up(self) -> int:
        """Records that the webhook never got, since the start."""
        return 0 if self._webhook is None else self._webhook.lost

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
