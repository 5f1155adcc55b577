"""Real parts for tests: an Asterisk, a SIP phone, and portero as twistd runs it."""
