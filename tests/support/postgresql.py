"""A PostgreSQL server of one's own on a free local port, for tests and for a benchmark."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from urllib.parse import quote

PASSWORD = "ge/heim@1:%"


def find_programs():
    """Find the folder of initdb and pg_ctl; None where there is none, or no such users."""
    if sys.platform == "win32":
        return None
    folders = [*os.environ.get("PATH", "").split(os.pathsep)]
    # Debian keeps them apart, one folder a version.
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += map(str, sorted(versions, key=lambda folder: folder.parent.name, reverse=True))
    for folder in folders:
        if all(shutil.which(name, path=folder) for name in ("initdb", "pg_ctl", "postgres")):
            return Path(folder)
    return None


class Server:
    """A server with a superuser whose password it asks for.

    Parameters
    ----------
    durable : bool, default=False
        Whether what is committed has to outlive the machine.
    **settings : str
        Settings of the server.
    """

    def __init__(self, *, durable=False, **settings):
        self._programs = find_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="skdistort-postgresql-"))
        # A server refuses to run as root.
        self._as = {}
        if os.geteuid() == 0:
            user = _other_user()
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._schemas = count(1)
        self._killed = False
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            # Some distributions start it in the language of the machine.
            "lc_messages": "C",
            **({} if durable else {"fsync": "off", "full_page_writes": "off"}),
            **settings,
        }
        try:
            password = self._folder / "password"
            password.write_text(PASSWORD)
            os.chmod(password, 0o644)
            self._run("initdb", "--pwfile", password, "-A", "scram-sha-256", "-U", "owner", "-N")
            with (self._folder / "data" / "postgresql.conf").open("a") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        """Start it; also where it was killed and what it had started is still about to end."""
        give_up = time.monotonic() + (30 if self._killed else 0)
        while True:
            try:
                self._run("pg_ctl", "-w", "-l", self._folder / "log", "start")
                self._killed = False
                return
            except RuntimeError:
                if time.monotonic() >= give_up:
                    raise
            time.sleep(0.1)

    def stop(self, mode="fast"):
        """Stop it, at once and without tidying up for "immediate"."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def kill(self):
        """Kill the process that all of its others belong to."""
        number = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(number, signal.SIGKILL)
        self._killed = True

    def close(self):
        """Stop it and remove all files."""
        if not self._killed and (self._folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self._folder)

    def url(self, user="owner", password=PASSWORD, options=""):
        """Give the URL of its database."""
        secret = quote(password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self._port}/postgres{options}"

    def execute(self, statement, parameters=None):
        """Execute a statement, and give the rows of a query."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def new_schema(self):
        """Make an empty schema; the URL under which it is the current one."""
        schema = f"store_{next(self._schemas)}"
        self.execute(f"CREATE SCHEMA {schema}")
        return self.url(options=f"?options=-csearch_path%3D{schema}")

    def _run(self, program, *arguments):
        # Not a pipe: what it starts keeps that open.
        with (self._folder / "out").open("wb") as out:
            result = subprocess.run(
                [self._programs / program, "-D", self._folder / "data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                **self._as,
            )
        if result.returncode:
            raise RuntimeError(f"{program}: {(self._folder / 'out').read_text()}")


def bytes_on_disk(url):
    """Read all files of the relations of a schema, and of what their long values are kept in."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        folder = Path(connection.execute("SHOW data_directory").fetchone()[0])
        rows = connection.execute(
            "WITH ours AS (SELECT * FROM pg_class "
            "WHERE relnamespace = current_schema()::regnamespace) "
            "SELECT pg_relation_filepath(oid) FROM ours UNION "
            "SELECT pg_relation_filepath(reltoastrelid) FROM ours WHERE reltoastrelid <> 0"
        ).fetchall()
    paths = [folder / path for (path,) in rows if path]
    # Larger ones have several files; others hold maps.
    return b"".join(
        file.read_bytes() for path in paths for file in sorted(path.parent.glob(f"{path.name}*"))
    )


def _other_user():
    import pwd

    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise RuntimeError("There is no user but root.")
