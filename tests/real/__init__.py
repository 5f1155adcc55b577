"""The plugin under twistd, called by a SIP phone through a real Asterisk."""
