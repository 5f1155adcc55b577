"""
A portero with several agents, announced by the shipped dialplan as it is; and a voice
service that does for each model what a test wants.
"""

from __future__ import annotations

import atexit
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from portero.registry import COMES_WITHIN
from tests.lab.asterisk import BUSY, OFFICE, SALES
from tests.lab.phone import Phone, Refused
from tests.lab.portero import Portero
from tests.lab.process import free_port
from tests.lab.service import Models, Service, Told
from tests.real.case import RealTestCase, the_asterisk

BUSY_HERE = 486
"""SIP's word for the fallback that is L{BUSY}."""
TOKEN = "the-token-of-the-lab"
KEY = "test"
SENTENCE_MS = 900
"""A reply: a tone."""
WAYS = ("curl", "agi")
"""In which the dialplan asks portero."""

HANG_UP = ("hang_up", "{}")
AUDIO_TOKENS = 1000
USAGE = {
    "total_tokens": AUDIO_TOKENS,
    "input_tokens": 0,
    "output_tokens": AUDIO_TOKENS,
    "input_token_details": {},
    "output_token_details": {"audio_tokens": AUDIO_TOKENS},
}
"""A dollar's worth, by the prices below."""
SENTENCE = ((0.1, SENTENCE_MS),)
MODELS: dict[str, dict[str, object]] = {
    "talks": {"reply": ((0.1, 30_000),)},
    "brief": {"reply": SENTENCE, "function_call": HANG_UP},
    "brief-and-dear": {"reply": SENTENCE, "function_call": HANG_UP, "usage": USAGE},
    "dear": {"reply": SENTENCE, "usage": USAGE},
    "to-sales": {
        "reply": SENTENCE,
        "function_call": ("transfer", '{"target": "sales"}'),
    },
    "to-nowhere": {
        "reply": SENTENCE,
        "function_call": ("transfer", '{"target": "nowhere"}'),
    },
}


def configuration(agi_port: int, url: str, folder: Path) -> str:
    """
    @param url: Of the voice service.
    @param folder: For files of its own.
    """
    wrong_key = folder / "key"
    wrong_key.write_text("wrong")
    return f"""
[listen]
agi = "{agi_port}"
require_registration = true
[agent]
company_name = "Acme"
model = "talks"
tools = ["hangup", "transfer"]
[agents.reception]
called = ["+34911234567"]
variables = {{ flat = "unknown" }}
greeting = "Good day, {{caller_name}}, this is {{company_name}}."
instructions = "You are at the door. Somebody rings for flat {{flat}}."
[agents.night]
greeting = "We are closed."
[agents.brief]
called = ["brief"]
model = "brief"
variables = {{ flat = "unknown" }}
greeting = "Flat {{flat}}: {{caller_name}}."
[agents.narrow]
max_calls = 1
[agents.to_sales]
model = "to-sales"
[agents.to_nowhere]
model = "to-nowhere"
[agents.broken]
provider = "broken"
fallback = "office"
[agents.priced]
model = "brief-and-dear"
[agents.capped_call]
model = "dear"
most_per_call = 0.5
[agents.capped_day]
model = "brief-and-dear"
most_per_day = 1.0
[targets.sales]
to = "{SALES}"
[targets.office]
to = "{OFFICE}"
[targets.nowhere]
to = "lab,nowhere,1"
[prices.brief-and-dear]
audio_out = 1000.0
[prices.dear]
audio_out = 1000.0
[providers.broken]
kind = "openai"
url = "{url}"
api_key_file = "{wrong_key}"
"""


class House:
    """
    @ivar token: What its status resource wants.
    @ivar late: A call id that was announced when it started.
    @ivar late_at: When it counts no more, by the monotonic clock.
    """

    def __init__(
        self, models: Models, configuration: Callable[[int, str, Path], str]
    ) -> None:
        """
        @param models: As for L{Service}.
        @param configuration: As the function of that name: makes TOML.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="house-lab-")
        self.service = Service(models, key=KEY)
        self.agi_port = free_port()
        folder = Path(self._folder.name)
        try:
            config = configuration(self.agi_port, self.service.url, folder)
            self.portero = Portero(env=self.service.env, config=config, token=TOKEN)
        except BaseException:
            self.service.stop()
            raise
        self.token = TOKEN
        self.late = self.portero.announce()["uuid"]
        self.late_at = time.monotonic() + COMES_WITHIN

    @classmethod
    def for_all(
        cls, models: Models, configuration: Callable[[int, str, Path], str]
    ) -> House:
        """
        @return: One that ends with this run.
        """
        house = cls(models, configuration)
        atexit.register(house.stop)
        give_token(TOKEN)
        return house

    def stop(self) -> None:
        self.portero.stop()
        self.service.stop()
        self._folder.cleanup()


@functools.cache
def the_house() -> House:
    """
    @return: The one of this run, of all tests that don't harm it.
    """
    return House.for_all(MODELS, configuration)


def give_token(token: str) -> None:
    """
    To Asterisk, as the operator does; an empty one takes it away.
    """
    put = f"put portero token {token}" if token else "del portero token"
    the_asterisk().rx(f"database {put}")


class HouseTestCase(RealTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.house = self.its_house()
        self.service = self.house.service
        self._own = self.house.portero
        self.agi_port = self.house.agi_port
        # Phones of the test before have hung up, which portero may not know yet.
        self.wait_until("portero has no call", lambda: not self.portero.calls())

    def its_house(self) -> House:
        return the_house()

    def door(
        self, way: str = "curl", context: str = "portero", **variables: str
    ) -> str:
        """
        @param way: How the dialplan asks.
        @param context: Where the shipped dialplan is, or one like it.
        @param variables: As for L{Asterisk.to_dialplan}.

        @return: The URI to call.
        """
        if way == "agi":
            variables["PORTERO_STATUS"] = f"agi://127.0.0.1:{self.agi_port}"
        port, web_port = self.portero.port, self.portero.web_port
        return self.asterisk.to_dialplan(port, web_port, context, **variables)

    def known(self, door: str) -> dict[str, str]:
        """
        Wait for the end of the one call there.

        @return: What the dialplan knew then.
        """
        self.wait_until("the end", lambda: bool(self.asterisk.told(door)), 10)
        (known,) = self.asterisk.told(door)
        return known

    def ends(self, door: str) -> Phone:
        """
        Call, and wait until the other side hangs up.
        """
        phone = self.phone()
        phone.call(door)
        phone.wait_for_bye(10)
        return phone

    def is_turned_away(self, way: str = "curl", **variables: str) -> dict[str, str]:
        """
        Call, and fail unless the fallback gets the caller unanswered.

        @return: What the dialplan knew.
        """
        door = self.door(way, PORTERO_FALLBACK=BUSY, **variables)
        refused = self.assertRaises(Refused, self.phone().call, door)
        self.assertEqual(refused.status, BUSY_HERE)
        return self.known(door)

    def session(self, words: str) -> Told:
        """
        @return: The one session that was told to say something with these words.
        """

        def found() -> list[Told]:
            return [t for t in self.service.told() if words in "".join(t.asked)]

        self.wait_until(words, lambda: len(found()) == 1)
        return found()[0]
