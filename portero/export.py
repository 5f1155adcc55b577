"""C{portero export}: a line of JSON for each call that is over, the oldest first."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.python import usage

from portero.errors import PorteroError
from portero.records import command, rows
from portero.records.archive import Query
from portero.records.document import document


class Options(command.Options):
    """What C{portero export} takes."""

    synopsis = "Usage: portero export [--since DAY] [--until DAY] [options]"
    longdesc = (
        "Prints the record of each call that is over as one line of JSON, the oldest "
        "first. A DAY looks like 2026-11-21, and counts by this machine's clock."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["since", None, "", "The first day."],
        ["until", None, "", "The last day."],
    ]


def run(arguments: Sequence[str]) -> int:
    """@return: The exit status."""
    options = Options()
    try:
        options.parseOptions(list(arguments))
        wanted = Query(since=options["since"], until=options["until"]).wanted()
    except (usage.UsageError, ValueError) as error:
        print(f"{options.synopsis}\n{error}", file=sys.stderr)
        return 1
    try:
        database = options.database(options.read())
        with database.at_once() as cursor:
            for past in rows.oldest_first(cursor, wanted.since, wanted.until):
                print(json.dumps(document(past), ensure_ascii=False))
        sys.stdout.flush()
    except PorteroError as error:
        print(command.told(error), file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read it has enough; the interpreter would try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
