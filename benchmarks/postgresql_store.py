"""Measure a template store in PostgreSQL: what kills lose, and its pace beside SQLite's.

It starts a server of its own on this machine, with fsync on, as another user if it runs as root.
``kill`` kills a process that enrols, renews and revokes, then the server under a whole store, again
and again, and looks for what was lost, half done, or revoked and still there. ``pace`` fills a
whole store of either kind with digits and times `verify`, `identify` and `revoke`, in turn.
``clients`` lets two stores on two connections look at what the other one does.

    python benchmarks/postgresql_store.py kill --kills 200 --server-kills 20
    python benchmarks/postgresql_store.py pace --n 100000
    python benchmarks/postgresql_store.py clients
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator

from skdistort import DistortionGenerator, TemplateStore, TripletEmbedder
from skdistort.exceptions import RenewalError
from skdistort.templates import TemplateDatabase

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.postgresql import Server, bytes_on_disk  # noqa: E402
from support.templates import contents  # noqa: E402

X, y = load_digits(return_X_y=True)
# Templates of one enrolment.
BATCH = 5
OLD, NEW = 1, 2


def fitted(**parameters):
    """Fit a small generator on digits."""
    small = {"epochs": 3, "filters": (8, 16), "learning_rate": 5e-3, "random_state": 0}
    embedder = FrozenEstimator(TripletEmbedder(**small).fit(X[600:], y[600:]))
    return DistortionGenerator(embedder, **{**small, **parameters}).fit(X[600:])


def timed(function, *args):
    """Call a function; how many seconds it took."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def kill(args):
    """Kill clients, then the server, and print what was lost."""
    server = Server(durable=True)
    try:
        failed = kill_clients(server, args) if args.kills else 0
        failed += kill_server(server, args) if args.server_kills else 0
    finally:
        server.close()
    if failed:
        raise SystemExit(1)


def write(url, batch, say):
    """Enrol batches, renew every second, revoke every third, and say what is done, until killed."""
    database = TemplateDatabase(url)
    while True:
        subject = f"batch {batch}"
        say("adding", batch)
        rows = [contents(batch, i, False) for i in range(BATCH)]
        database.add([(subject, image, b"old", embedding) for image, embedding in rows])
        say("added", batch)
        if batch % 2 == 0:
            say("renewing", batch)
            numbers = [number for number, *_ in database.read_after(0, BATCH, subject=subject)]
            renewed = [contents(batch, i, True) for i in range(BATCH)]
            database.replace(dict(zip(numbers, renewed, strict=True)), b"new")
            say("renewed", batch)
        if batch % 3 == 0:
            say("removing", batch)
            database.remove(subject)
            say("removed", batch)
        batch += 1


def run_and_kill(url, first, seconds):
    """Let a child write for a while, kill it, and tell what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        write(url, first, lambda *words: os.write(writing, f"{words[0]} {words[1]}\n".encode()))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        heard = pipe.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        heard += pipe.read()
    return [(word, int(batch)) for word, batch in map(str.split, heard.decode().splitlines())]


def kill_clients(server, args):
    """Kill a writer at random moments, and compare the tables with what was acknowledged."""
    rng = random.Random(args.seed)
    url = server.new_schema()
    TemplateDatabase(url).close()
    words = ("adding", "added", "renewing", "renewed", "removing", "removed")
    said = {word: set() for word in words}
    lost = half = unerased = 0
    for _ in range(args.kills):
        first = 1 + max(said["adding"], default=-1)
        now = set()
        for word, batch in run_and_kill(url, first, rng.uniform(0, args.seconds)):
            said[word].add(batch)
            now.add(batch)
        # What the server was told to do it does also after the client is gone.
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        while server.execute(f"SELECT FROM pg_stat_activity WHERE {others}"):
            time.sleep(0.01)
        database = TemplateDatabase(url)
        found = {}
        for number, subject, image in database.read_after(0, 10**7):
            found.setdefault(int(subject.split()[1]), []).append((number, image))
        rows = database.read_embeddings_after(0, 10**7)
        embeddings = {number: (check, embedding) for number, _, check, embedding in rows}
        database.numbers()
        database.close()
        lost += len(said["added"] - said["removing"] - set(found))
        unerased += len(set(found) & said["removed"])
        data = bytes_on_disk(url)
        for batch in now & set(found):
            checks = {embeddings[number][0] for number, _ in found[batch]}
            renewed = checks == {b"new"}
            kept = [(image, embeddings[number][1]) for number, image in found[batch]]
            half += kept != [contents(batch, i, renewed) for i in range(BATCH)]
            lost += batch in said["renewed"] and not renewed
            unerased += renewed and any_left(data, batch, False)
        # Of what was cut off before it was enrolled, bytes may lie there till the next revocation.
        for batch in (now & said["added"]) - set(found):
            unerased += any_left(data, batch, False) + any_left(data, batch, True)
    n = {word: len(batches) for word, batches in said.items()}
    print(
        f"{args.kills} kills of a client; {n['added']} enrolments of {BATCH}, {n['renewed']} "
        f"renewals and {n['removed']} revocations acknowledged, {n['adding'] - n['added']}, "
        f"{n['renewing'] - n['renewed']} and {n['removing'] - n['removed']} cut off: {lost} "
        f"acknowledged lost, {half} half present, {unerased} with bytes left",
        flush=True,
    )
    return lost + half + unerased


def any_left(data, batch, renewed):
    """Tell whether bytes of a batch are in the files of the tables."""
    return any(
        part[:24] in data or part[-24:] in data
        for i in range(BATCH)
        for part in contents(batch, i, renewed)
    )


def kill_server(server, args):
    """Kill the server under a whole store that writes, and ask the next one what is there."""
    generator = fitted(architecture="bottleneck", key=OLD, refinement_steps=30)
    url = server.new_schema()
    options = {"key_cost": 1, "allow_weak_keys": True}
    # What is known of each batch: its key, None once it is revoked, or several where a change was
    # cut off.
    known, n_acknowledged, n_cut_off, wrong = {}, 0, 0, 0
    rng = random.Random(args.seed)

    def images(batch):
        return X[np.arange(batch * BATCH, (batch + 1) * BATCH) % 600]

    def change(batch, after, method, *arguments, **keywords):
        nonlocal n_acknowledged
        known[batch] = {*known.get(batch, {None}), after}
        try:
            method(*arguments, **keywords)
        except RenewalError as error:
            # Of one batch, some stay under the old key and are there; what passed is renewed.
            known[batch] = {OLD, NEW} if error.n_renewed else {OLD}
        else:
            known[batch] = {after}
        n_acknowledged += 1

    def work(first):
        with TemplateStore(generator, url, **options) as store:
            for batch in range(first, 10**6):
                id = f"batch {batch}"
                change(batch, OLD, store.enrol, [id] * BATCH, images(batch))
                if batch % 2 == 0:
                    change(batch, NEW, store.rotate, id, NEW)
                if batch % 3 == 0:
                    change(batch, None, store.revoke, id)

    def work_until_lost(first):
        # The server is lost: what is under way raises OSError, and nothing else.
        try:
            work(first)
        except OSError:
            pass
        except BaseException as error:
            unexpected.append(error)

    # So that the first change does not take longer than the server lives.
    with TemplateStore(generator, server.new_schema(), **options) as store:
        store.enrol(["a"] * BATCH, images(0))
        change(-1, NEW, store.rotate, "a", NEW)
        store.score_claims(["a"] * BATCH, images(0), NEW)
    known, n_acknowledged = {}, 0

    unexpected = []
    for turn in range(args.server_kills):
        first, wanted = len(known), n_acknowledged + rng.randint(1, 3)
        writer = threading.Thread(target=work_until_lost, args=(first,))
        writer.start()
        # However long a change takes here, some are acknowledged.
        while n_acknowledged < wanted and writer.is_alive():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, args.server_seconds))
        server.kill() if turn % 2 else server.stop("immediate")
        writer.join()
        server.start()
        if unexpected:
            raise unexpected[0]
        with TemplateStore(generator, url, **options) as store:
            with closing(TemplateDatabase(url)) as tables:
                tables.numbers()
            enrolled = {*store.ids}
            for batch, keys in known.items():
                id = f"batch {batch}"
                if id not in enrolled:
                    wrong += None not in keys
                elif keys == {None}:
                    wrong += 1
                elif batch >= first:
                    under = [
                        key
                        for key in (OLD, NEW)
                        if (store.score_claims([id] * BATCH, images(batch), key) > -np.inf).all()
                    ]
                    wrong += not {*under} & keys
                n_cut_off += batch >= first and len(keys) > 1
            # What was cut off is one or the other from now on.
            for batch, keys in known.items():
                if len(keys) > 1:
                    known[batch] = keys - {None} if f"batch {batch}" in enrolled else {None}
    print(
        f"{args.server_kills} kills of the server under a whole store: {n_acknowledged} changes "
        f"acknowledged, {n_cut_off} cut off; {wrong} lost, half done, or revoked and still there",
        flush=True,
    )
    return wrong


def pace(args):
    """Print how long whole stores of either kind take, in turn."""
    generator = fitted()
    ids = [str(i) for i in range(args.n)]
    server = Server(durable=True)
    folder = tempfile.TemporaryDirectory()
    try:
        places = {"SQLite": Path(folder.name) / "templates.db", "PostgreSQL": server.new_schema()}
        stores = {kind: TemplateStore(generator, place) for kind, place in places.items()}
        # All digits by `enrol`; then their templates again under further ids, without the networks.
        n = min(args.n, len(X))
        whole = {kind: timed(store.enrol, ids[:n], X[:n]) for kind, store in stores.items()}
        tables = {kind: TemplateDatabase(place) for kind, place in places.items()}
        images = [image for _, _, image in tables["SQLite"].read_after(0, n)]
        embeddings = [row[3] for row in tables["SQLite"].read_embeddings_after(0, n)]
        adding = dict.fromkeys(stores, 0.0)
        for start in range(n, args.n, 2000):
            part = range(start, min(start + 2000, args.n))
            rows = [(ids[i], images[i % n], b"", embeddings[i % n]) for i in part]
            for kind in stores:
                adding[kind] += timed(tables[kind].add, rows)
        for kind, store in stores.items():
            store.calibrate_threshold(X[:600], y[:600])
            print(
                f"{kind}: {n} enrolments in one call {whole[kind]:.1f} s; {args.n - n} more of "
                f"templates that are made, 2000 at a time, {adding[kind]:.1f} s",
                flush=True,
            )
        rng = np.random.default_rng(0)
        for n_claims, repeats in ((1, args.repeats), (100, args.repeats // 2), (1000, 9)):
            compare("verify", stores, n_claims, repeats, rng, args.n)
            compare("read", tables, n_claims, repeats, rng, args.n)
        for kind, store in stores.items():
            first = timed(store.identify, X[:1])
            again = median(timed(store.identify, X[:1]) for _ in range(9))
            revoking = median(timed(store.revoke, id) for id in ids[:9])
            print(
                f"{kind}: first search {first:.2f} s, further {1e3 * again:.1f} ms; revocation "
                f"{1e3 * revoking:.0f} ms"
            )
            tables[kind].close()
            store.close()
    finally:
        server.close()
        folder.cleanup()


def compare(what, opened, n_claims, repeats, rng, n):
    """Time claims in turn: `verify` of a store, or what it reads of its tables."""
    taken = {kind: [] for kind in opened}
    for _ in range(repeats):
        claimed = rng.choice(n, n_claims, replace=False)
        ids, probes = [str(i) for i in claimed], X[claimed % len(X)]
        for kind, place in opened.items():
            work = (place.verify, ids, probes) if what == "verify" else (place.read_claimed, ids)
            taken[kind].append(timed(*work))
    sqlite, postgresql = (np.array(taken[kind]) for kind in ("SQLite", "PostgreSQL"))
    print(
        f"{what} of {n_claims}: SQLite {1e3 * median(sqlite):.2f} ms, PostgreSQL "
        f"{1e3 * median(postgresql):.2f} ms, median of {repeats} paired ratios "
        f"{median(postgresql / sqlite):.2f}"
    )


def clients(args):
    """Let two stores on two connections look at what the other one does."""
    generator = fitted()
    server = Server(durable=True)
    wrong = 0
    try:
        url = server.new_schema()
        with TemplateStore(generator, url) as one, TemplateStore(generator, url) as other:
            one.enrol(["somebody"], X[:1])
            for turn in range(args.turns):
                writer, reader = (one, other) if turn % 2 else (other, one)
                writer.enrol([f"{turn}"], X[turn : turn + 1])
                probe = X[turn : turn + 1]
                claimed = reader.score_claims([f"{turn}"], probe)[0]
                # Digits may be nearer to one another than a probe to its own template.
                wrong += bool(reader.identify(probe).scores[0, 0] < claimed)
                writer.revoke(f"{turn}")
                wrong += f"{turn}" in reader.identify(X[:1], 99).ids
                try:
                    reader.score_claims([f"{turn}"], X[:1])
                    wrong += 1
                except KeyError:
                    pass
                wrong += writer.n_changes != reader.n_changes
    finally:
        server.close()
    print(f"{args.turns} enrolments and revocations, each looked for by another: {wrong} unseen")
    if wrong:
        raise SystemExit(1)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("kill")
    command.add_argument("--kills", type=int, default=200)
    command.add_argument("--seconds", type=float, default=0.5)
    command.add_argument("--server-kills", type=int, default=20)
    command.add_argument("--server-seconds", type=float, default=0.5)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=kill)
    command = commands.add_parser("pace")
    command.add_argument("--n", type=int, default=100_000)
    command.add_argument("--repeats", type=int, default=40)
    command.set_defaults(run=pace)
    command = commands.add_parser("clients")
    command.add_argument("--turns", type=int, default=50)
    command.set_defaults(run=clients)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
