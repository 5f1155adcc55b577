"""
A program that keeps calls and that somebody kills: L{tests.test_records_crash} does.

C{python -m tests.kept_process FOLDER [LIMIT]}: each 20 ms a call ends that has a
record, and one more frame of another call is recorded; how far it is, it tells on its
standard output. No file may have more bytes than C{LIMIT}, until a line comes in.
"""

from __future__ import annotations

import os
import resource
import sys
from typing import Any
from uuid import uuid4

from twisted.internet import reactor as found
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineOnlyReceiver

from portero.observers import records
from portero.observers.recording import Recordings
from portero.observers.records import Records
from portero.records.disk_thread import DiskThread
from portero.records.sqlite import RecordFile
from portero.sections import AgentSettings
from tests.kept_calls import TALK
from tests.test_observers_recording import TappedCall
from tests.test_observers_records import hold

SOUND = bytes(range(1, 161)) * 2
SETTINGS = AgentSettings(keep_words=True, record=True, consent="announced")
reactor: Any = found


def say(*words: object) -> None:
    print(*words, flush=True)


class Limit(LineOnlyReceiver):
    """A line takes the limit of the files away."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class Program:
    def __init__(self, folder: str) -> None:
        thread = DiskThread(reactor)
        self.recordings = Recordings(os.path.join(folder, "sound"), reactor, thread)
        file = RecordFile(os.path.join(folder, "records.sqlite"), reactor)
        self.records = Records(file, reactor, self.recordings.name_of)
        self.recordings.use(["reception"])
        self.records.use({"reception": SETTINGS}, whole_numbers=True)
        for service in (thread, self.recordings, self.records):
            service.startService()
        self.ended = self.given = 0
        call: Any = TappedCall(str(uuid4()))
        self.call = call
        self.recordings.call_started(call)
        say("records", self.call.call_id)

    def tick(self) -> None:
        hold(self.records, str(uuid4()), TALK)
        self.ended += 1
        for tap in tuple(self.call.taps):
            tap.frame(SOUND, 8000, SOUND, 8000)
            self.given += 1
        say("gave", self.given)
        say("ended", self.ended)
        say("kept", self.ended - self.records.waiting)


def main() -> None:
    folder, *limit = sys.argv[1:]
    records.LONGEST_WAIT = 0.5  # type: ignore[misc]
    if limit:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]), hard))
    StandardIO(Limit(), reactor=reactor)
    LoopingCall(Program(folder).tick).start(0.02)
    reactor.callLater(30, os._exit, 3)  # whatever becomes of who started it
    reactor.run()


if __name__ == "__main__":
    main()
