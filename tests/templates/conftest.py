"""Where the stores of the tests are: in a file, or in a schema of a server of their own."""

import pytest
from support.postgresql import Server, find_programs


@pytest.fixture(scope="session")
def server():
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if find_programs() is None:
        pytest.skip("PostgreSQL's server is not installed")
    # What the store has to see to by itself.
    server = Server(synchronous_commit="off", autovacuum="off")
    yield server
    server.close()


@pytest.fixture
def path(request, tmp_path):
    if getattr(request, "param", "sqlite") == "postgresql":
        return request.getfixturevalue("server").new_schema()
    return tmp_path / "templates.db"
