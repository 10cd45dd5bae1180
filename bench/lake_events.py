"""Some days of a shop's database: synthetic events, the same for the same number.

Few users with many sessions each, as applications have; statements of a few hundred shapes with
ever other literals; objects of which some are asked for far more often than others.
"""

import random
from collections.abc import Iterator
from itertools import accumulate

from dastream.event import Event, Origin
from dastream.format.engines import ENGINES
from dastream.record import Position

CLUSTER = "cluster-4HNY5V4RRNPKKYB7ICFKE5JBQQ"
INSTANCE = "db-FZJTMYKCXQBUUZ6VLU7NW3ITCM"
SHARD = "shardId-000000000000"
START_S = 1_795_392_000  # 2026-11-23 00:00 UTC
EVENTS_A_SECOND = 40
EVENTS_A_RECORD = 20
NEEDLE = "credit_limit"

USERS = [f"app_{n:02}" for n in range(40)] + [f"person_{n:03}" for n in range(120)]
WEIGHTS = list(accumulate([400 // (n + 4) + 1 for n in range(len(USERS))]))
TABLES = [f"public.{w}_{n}" for n in range(12) for w in ("orders", "items", "customers", "stock")]
HOSTS = [f"10.0.{n % 7}.{n}" for n in range(60)]
SHAPES = (
    ("SELECT", "READ", ("SELECT o.id, o.total, c.name FROM {t} o JOIN customers c ON c.id = o."
     "customer WHERE o.id = $1 AND o.state <> 'done' /* request {n:x} */")),
    ("SELECT", "READ", ("SELECT * FROM {t} WHERE created_at > '2026-11-0{d}' AND region = {d} "
     "ORDER BY created_at DESC LIMIT {m} OFFSET {m}0")),
    ("SELECT", "READ", ("SELECT count(*), sum(total) FROM {t} WHERE customer = {n} GROUP BY state "
     "HAVING sum(total) > {m}")),
    ("UPDATE", "WRITE", ("UPDATE {t} SET state = 'sent', updated_at = now(), note = '{n:x}' WHERE "
     "id = {n} RETURNING id, state")),
    ("INSERT", "WRITE", ("INSERT INTO {t} (id, customer, total, note) VALUES ({n}, {m}, {d}.95, "
     "'{n:x}-{m:x}')")),
    ("DELETE", "WRITE", "DELETE FROM {t} WHERE id = {n} AND customer = {m}"),
    ("SELECT", "READ", "SELECT {needle}, name FROM {t} WHERE id = {n}"),
)  # fmt: skip
SHAPE_WEIGHTS = list(accumulate((60, 25, 10, 20, 15, 3, 1)))

ENTRY = (
    '{"logTime":"%s+00","statementId":%d,"substatementId":1,"objectType":"TABLE","command":"%s",'
    '"objectName":"%s","databaseName":"shop","dbUserName":"%s","remoteHost":"%s","remotePort":"%d",'
    '"sessionId":"%s","rowCount":%d,"commandText":"%s","paramList":[%s],"pid":%d,'
    '"clientApplication":"%s","exitCode":%s,"class":"%s","serverVersion":"16.4.1","serverType":'
    '"PostgreSQL","serviceName":"Amazon Aurora PostgreSQL-Compatible edition","serverHost":'
    '"10.0.0.12","netProtocol":"TCP","dbProtocol":"Postgres 3.0","type":"record","startTime":'
    '"%s+00","errorMessage":%s}'
)


class Session:
    """A user's connection; it ends after some hundred statements."""

    def __init__(self, rng: random.Random, number: int) -> None:
        self.user = rng.choices(USERS, cum_weights=WEIGHTS)[0]
        self.id = f"{START_S + number:x}.{number % 65521:x}"
        self.host = rng.choice(HOSTS)
        self.port = rng.randrange(1024, 65536)
        self.pid = rng.randrange(100, 65536)
        self.left = rng.randrange(20, 800)
        self.statements = 0


def events(count: int) -> Iterator[Event]:
    """Events of some days, in the order in which they happened."""
    rng = random.Random(count)
    sessions = [Session(rng, number) for number in range(100)]
    opened = len(sessions)
    engine = ENGINES["aurora-postgresql"]
    origin = None
    for number in range(count):
        if number % EVENTS_A_RECORD == 0:
            arrival_ms = START_S * 1000 + number * 1000 // EVENTS_A_SECOND
            position = Position("bench", SHARD, str(10**20 + number))
            origin = Origin(engine, CLUSTER, INSTANCE, position, arrival_ms)
            message_id = f"{rng.getrandbits(128):032x}"
        place = int(rng.random() * 100)
        session = sessions[place]
        if not session.left:
            session = sessions[place] = Session(rng, opened)
            opened += 1
        yield Event(
            f"{message_id}-{number % EVENTS_A_RECORD}", _entry(rng, session, number), origin
        )


def _entry(rng: random.Random, session: Session, number: int) -> bytes:
    session.left -= 1
    session.statements += 1
    random_number = int(rng.random() * 10**9)
    command, command_class, shape = rng.choices(SHAPES, cum_weights=SHAPE_WEIGHTS)[0]
    table = TABLES[int(rng.random() ** 3 * len(TABLES))]
    text = shape.format(
        t=table, n=random_number, m=random_number % 997, d=random_number % 9, needle=NEEDLE
    )
    failed = random_number % 200 == 0
    micros = number * 1_000_000 // EVENTS_A_SECOND
    return (
        ENTRY
        % (
            _time(micros + random_number % 20_000),
            session.statements,
            command,
            table,
            session.user,
            session.host,
            session.port,
            session.id,
            random_number % 50,
            text,
            f'"{random_number}"' if "$1" in shape else "",
            session.pid,
            session.user.partition("_")[0],
            '"42501"' if failed else "null",
            command_class,
            _time(micros),
            '"permission denied"' if failed else "null",
        )
    ).encode()


def _time(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    return f"2026-11-{23 + days:02} {hours:02}:{minutes:02}:{seconds:02}.{fraction:06}"
