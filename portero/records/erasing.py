"""All that is kept of a call is deleted for good, while portero runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from portero.records import files, rows
from portero.records.database import Database


class Erasing:
    """What is kept on the disk, or is about to be."""

    def __init__(
        self,
        database: Database | None,
        waiting: Callable[[str], bool],
        folders: Sequence[str],
        queue: str,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
    ) -> None:
        """
        @param waiting: Takes the id of a call: its record is not to be written any
            more; returns whether it was to be.
        @param folders: With files of calls.
        @param queue: Folder of records that the webhook has not taken yet; or empty.
        """
        self._database = database
        self._waiting = waiting
        self._folders = folders
        self._queue = queue
        self._in_thread = in_thread

    async def erase(self, call_id: str) -> bool:
        """
        @return: Whether there was anything.
        @raise RecordsError, OSError: Not all could be deleted.
        """
        found = self._waiting(call_id)
        if self._database is not None:
            erase = partial(rows.erase, ids=[call_id], thoroughly=False)
            found = bool(await self._database.run(erase)) or found
        return bool(await self._in_thread(partial(self._remove, call_id))) or found

    def _remove(self, call_id: str) -> int:
        paths = files.of_call(self._folders, call_id)
        return files.remove([*paths, *files.unsent(self._queue, call_id)])
