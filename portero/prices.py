"""What models cost, as their makers say; the configuration may say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portero.sections import PriceSettings

AS_OF: Final = "2026-11"

SHIPPED: Final[Mapping[str, PriceSettings]] = {
    "gpt-realtime-2.1": PriceSettings(4, 0.4, 24, 32, 0.4, 64, as_of=AS_OF),
    "gpt-realtime-2.1-mini": PriceSettings(0.6, 0.06, 2.4, 10, 0.3, 20, as_of=AS_OF),
    "gpt-realtime-2": PriceSettings(4, 0.4, 24, 32, 0.4, 64, as_of=AS_OF),
    "gpt-realtime-1.5": PriceSettings(4, 0.4, 16, 32, 0.4, 64, as_of=AS_OF),
    "gpt-transcribe": PriceSettings(minute=0.0045, as_of=AS_OF),
    "gpt-live-transcribe": PriceSettings(minute=0.017, as_of=AS_OF),
    "gpt-realtime-whisper": PriceSettings(minute=0.017, as_of=AS_OF),
    "whisper-1": PriceSettings(minute=0.006, as_of=AS_OF),
}
"""In US dollars for a million tokens, or for a minute."""
