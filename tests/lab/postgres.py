"""A PostgreSQL server from Debian on 127.0.0.1, with its data in its own folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.lab.process import Process, free_port
from tests.parts import need

if TYPE_CHECKING or find_spec("psycopg"):
    import psycopg

PASSWORD: Final = "correct-horse"
"""Of the user portero."""
USERS: Final = ("postgres", "nobody")
"""It does not run as root; the first that there is."""

_HBA: Final = """\
host all postgres 127.0.0.1/32 trust
host all portero 127.0.0.1/32 scram-sha-256
"""


def programs() -> Path:
    """@return: The folder of the newest server's programs, which has an initdb."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    need(bool(found), "PostgreSQL (apt-get install postgresql)")
    return found[-1].parent


class Postgres:
    """
    Starts in the constructor.

    @ivar port: On 127.0.0.1.
    @ivar data: Its folder.
    """

    def __init__(self) -> None:
        need(find_spec("psycopg") is not None, "the PyPI package psycopg[binary]")
        self._programs = programs()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="portero-postgres-"))
        self.data = self.folder / "data"
        self._numbers = count(1)
        self._drop: list[str] = []
        if os.getuid() == 0:
            self._drop_to(next(pwd.getpwnam(name) for name in USERS if _exists(name)))
        initdb = [str(self._programs / "initdb"), "-D", str(self.data)]
        initdb += ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        made = subprocess.run(
            [*self._drop, *initdb, "--no-sync"],
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        (self.data / "pg_hba.conf").write_text(_HBA)
        self._process: _Server | None = None
        self.start()
        self.do(f"CREATE USER portero PASSWORD '{PASSWORD}'")

    def _drop_to(self, user: pwd.struct_passwd) -> None:
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
        self._drop += ["--clear-groups", "--pdeathsig", "INT"]

    def start(self) -> None:
        """
        Not in a thread that ends before the test does: it would end with that.

        @raise LabError: It does not answer in time.
        """
        command = [*self._drop, str(self._programs / "postgres"), "-D", str(self.data)]
        for setting in (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
            "fsync=off",
            "max_connections=40",
            "shared_buffers=16MB",
            "autovacuum=off",
        ):
            command += ["-c", setting]
        log = self.folder / "postgres.log"
        process = self._process = _Server(command, log, cwd=self.folder)
        process.wait_for("PostgreSQL to answer", self.answers, 20)

    def answers(self) -> bool:
        try:
            self.do("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def halt(self) -> None:
        """Its clients are cut off. It can be started again."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def kill(self) -> None:
        """As a machine that loses its power, but for its disk. It can be started."""
        process, self._process = self._process, None
        if process is not None:
            os.kill(process.pid, signal.SIGQUIT)  # its children, too, end at once
            process.stop()

    def stop(self) -> None:
        """Nothing is left of it."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def do(self, *statements: str, database: str = "postgres") -> list[Any]:
        """
        Have its owner do something.

        @return: The rows of the last one.
        """
        place = f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"
        with psycopg.connect(place, autocommit=True, connect_timeout=5) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def database(self) -> str:
        """@return: The URL of a new, empty one, which the user portero owns."""
        name = f"portero{next(self._numbers)}"
        self.do(f"CREATE DATABASE {name} OWNER portero")
        return f"postgresql://portero@127.0.0.1:{self.port}/{name}"

    def encrypt(self, certificate: bytes, key: bytes) -> Path:
        """
        Speak TLS with those who want it, from now on.

        @return: The file with the certificate.
        """
        for name, content in (("server.crt", certificate), ("server.key", key)):
            path = self.data / name
            path.write_bytes(content)
            path.chmod(0o600)
            shutil.chown(path, self.data.stat().st_uid)
        self.do("ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()")
        known = self.folder / "authority.pem"
        known.write_bytes(certificate)
        return known

    def holds(self, database: str, words: Sequence[bytes]) -> set[bytes]:
        """
        @param database: Its name.
        @return: Which of the words stand in the files of its tables and indexes.
        """
        ((number,),) = self.do(
            "CHECKPOINT", f"SELECT oid FROM pg_database WHERE datname = '{database}'"
        )
        files = (self.data / "base" / str(number)).iterdir()
        content = b"".join(file.read_bytes() for file in files)
        return {word for word in words if word in content}


class _Server(Process):
    def terminate(self) -> None:
        """SIGTERM would wait until all clients are gone."""
        if self.alive:
            self._child.send_signal(signal.SIGINT)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
