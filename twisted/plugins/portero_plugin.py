"""Registers C{portero} as a twistd command."""

from twisted.application.service import ServiceMaker

portero = ServiceMaker(
    "portero", "portero.tap", "Bridge Asterisk calls to realtime voice AI.", "portero"
)
