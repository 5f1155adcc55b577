"""
The HTTP API against its own description: schemathesis asks a running portero whatever
the description allows, and much that it does not.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from portero.web.passwords import new_token, token_hash
from tests.parts import need
from tests.real.case import RealTestCase

EXAMPLES = 12
"""Of each operation, beside those that are derived from its description."""
SECONDS = 120.0
"""It takes some 10, and must end."""
STREAMS = "/(events|listen|talk)$"
"""These have no end; other tests read them."""
CONFIG = """
[dictionaries.calls]
values = {call_ids}
[parameters]
"path.id" = {{ dictionary = "calls", probability = 0.7 }}
# While calls are not taken, which anybody may ask for.
[[operations]]
include-path = "/register"
[operations.checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 503]
"""


class DescriptionTests(RealTestCase):
    def setUp(self) -> None:
        super().setUp()
        need(
            importlib.util.find_spec("schemathesis") is not None,
            "the PyPI package schemathesis",
        )
        self.token = new_token()
        self.own_portero(
            config=f"""
[users.machine]
token = "{token_hash(self.token)}"
rights = ["read", "act", "listen"]
"""
        )

    def test_it_keeps_to_its_description(self) -> None:
        """With one call that is over, and one that anybody may hang up meanwhile."""
        ids = set()
        phones = [self.phone() for _ in range(2)]
        for phone in phones:
            self.call(phone)
            phone.wait_for_sound(5)
            ids |= {call["id"] for call in self.machine("calls")["calls"]}
        self.assertEqual(len(ids), 2)
        phones[0].hang_up()
        self._keeps_to_it(sorted(ids))
        self.assertTrue(self.machine("health")["ready"])

    def machine(self, path: str) -> Any:
        """
        @return: What the API answers who has all rights.
        """
        request = Request(
            f"{self.portero.url}/api/v1/{path}",
            headers={"Authorization": f"Bearer {self.token}"},
        )
        with urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def _keeps_to_it(self, call_ids: Sequence[str]) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        config = folder / "schemathesis.toml"
        config.write_text(CONFIG.format(call_ids=json.dumps(call_ids)))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color"),
            *("--config-file", str(config.resolve()), "run"),
            f"{self.portero.url}/api/v1/openapi.json",
            *("--header", f"Authorization: Bearer {self.token}"),
            *("--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES), "--seed", "1"),
            *("--request-timeout", "5", "--exclude-path-regex", STREAMS),
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}")
