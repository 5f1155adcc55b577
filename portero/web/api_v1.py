"""Version 1 of the API, put together."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from portero.logs.log import Log
from portero.observers.house import House
from portero.observers.story import Story
from portero.records.archive import Archive
from portero.service import Bridge
from portero.transports.browser import TalkResource
from portero.web import api_elsewhere, openapi
from portero.web.access import Access
from portero.web.api import Api
from portero.web.api_actions import Actions
from portero.web.api_calls import CallsApi, CallStories
from portero.web.api_history import HistoryApi
from portero.web.api_house import HouseApi
from portero.web.api_log import LogApi
from portero.web.api_talk import TalkApi
from portero.web.events import Feed
from portero.web.file_part import InThread
from portero.web.listen import Listeners


def make(
    bridge: Bridge,
    access: Access,
    house: House,
    story: Story,
    archive: Archive,
    talk: TalkResource,
    log: Log,
    clock: IReactorTime,
    in_thread: InThread,
) -> Api:
    """
    @param house: Told of all calls, as are the next two.
    @param talk: For calls from a browser.
    @param in_thread: Runs a function where it may wait for a disk.
    @return: What is to be at C{/api/v1}.
    """
    stories = CallStories(bridge, story, archive)
    return Api(
        openapi.with_document(
            (
                *CallsApi(bridge, stories).operations(),
                *Actions(bridge).operations(),
                *Listeners(bridge).operations(),
                *Feed(bridge, house, stories, clock).operations(),
                *HouseApi(bridge, house).operations(),
                *HistoryApi(stories, in_thread).operations(),
                *TalkApi(talk).operations(),
                *LogApi(log).operations(),
                *api_elsewhere.OPERATIONS,
            )
        ),
        access,
    )
