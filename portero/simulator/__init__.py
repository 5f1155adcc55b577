"""
The built-in demo agent: an OpenAI Realtime service (GA protocol) on loopback.

It answers when there is no API key, and is the partner of every test. What it does not
do: understand words, and keep the audio of old items.
"""

from portero.simulator.connection import Connection
from portero.simulator.knobs import Knobs
from portero.simulator.server import Simulator

__all__ = ["Connection", "Knobs", "Simulator"]
