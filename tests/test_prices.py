"""The prices that are shipped."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from portero.money import cost
from portero.prices import SHIPPED
from portero.sections import AgentSettings

CALLER: dict[str, int] = {"input.audio_tokens": 600}
AGENT: dict[str, int] = {"output.audio_tokens": 1200}
"""Of a minute of speech each: about 10 tokens a second of the caller's, 20 of the
agent's."""


class PriceTests(SynchronousTestCase):
    def test_the_models_that_are_used_without_being_named_have_one(self) -> None:
        agent = AgentSettings()
        self.assertIn(agent.model, SHIPPED)
        self.assertIn(agent.transcription_model, SHIPPED)

    def test_a_minute_of_speech_costs_what_one_knows_that_it_costs(self) -> None:
        for model, caller, agent in (
            ("gpt-realtime-2.1", 0.0192, 0.0768),
            ("gpt-realtime-2.1-mini", 0.006, 0.024),
        ):
            price = SHIPPED[model]
            self.assertApproximates(cost(CALLER, price), caller, 1e-12)
            self.assertApproximates(cost(AGENT, price), agent, 1e-12)

    def test_cached_is_cheaper_and_speech_dearer_than_text(self) -> None:
        for model, price in SHIPPED.items():
            if price.minute:
                continue
            self.assertLess(price.text_cached, price.text_in, model)
            self.assertLess(price.audio_cached, price.audio_in, model)
            self.assertGreater(price.audio_in, price.text_in, model)
            self.assertGreater(price.audio_out, price.text_out, model)

    def test_it_is_for_tokens_or_for_minutes(self) -> None:
        minute = {"ms": 60_000}
        for model, price in SHIPPED.items():
            by_token = cost(CALLER, price), cost(AGENT, price)
            self.assertEqual(cost(minute, price) == 0.0, all(by_token), model)
            self.assertEqual(cost(minute, price) > 0.0, not any(by_token), model)

    def test_each_says_which_month_it_is_of(self) -> None:
        for model, price in SHIPPED.items():
            self.assertTrue(re.fullmatch(r"20\d\d-[01]\d", price.as_of), model)
