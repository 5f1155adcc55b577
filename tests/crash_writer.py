"""
A program that writes records as fast as it can until somebody kills it:
C{python -m tests.crash_writer PLACE}. PLACE is a file, or a URL whose password is in
C{PGPASSWORD}. It tells each call that is written.
"""

from __future__ import annotations

import os
import sys
import threading
from itertools import count

from portero.records import rows
from portero.records.database import Database
from portero.records.sqlite import RecordFile
from tests.kept_calls import past


def database(place: str) -> Database:
    if place.startswith("/"):
        return RecordFile(place, None)
    from portero.records.postgres import RecordServer

    return RecordServer(place, "", None)


def main() -> None:
    end = threading.Timer(30, os._exit, (3,))  # whatever becomes of who started it
    end.daemon = True
    end.start()
    with database(sys.argv[1]).at_once() as cursor:
        for number in count():
            rows.write(cursor, past(f"{os.getpid()}-{number}"))
            cursor.execute("COMMIT")
            print(number, flush=True)


if __name__ == "__main__":
    main()
