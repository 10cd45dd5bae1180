"""What the activity stream costs a database: pgbench with nothing, with pgaudit, with the emitter.

The three alternate in short rounds, and medians are compared, since these machines are noisy; the
ratio is what counts. The servers write as in production (fsync on). The emitter runs in this
process, whose CPU time is taken; KMS and Kinesis are answered at once by another process, as if
they were far away. Prints a table; `--write` puts it into docs/postgresql-cost.md.
"""

import argparse
import base64
import contextlib
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import boto3
import psycopg

from dastream.activity.emitter import Emitter
from dastream.local.postgres import PostgresServer
from dastream.local.postgres_programs import find_programs

PAGE = Path(__file__).parents[1] / "docs" / "postgresql-cost.md"
TABLE = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
SCALE = 10
CLIENTS = 4
WORKLOADS = {
    "read-only": ["--select-only"],
    "read-only, prepared": ["--select-only", "--protocol=prepared"],
    "read-write": [],
}
WAYS = ("nothing", "pgaudit", "pgaudit and the emitter")
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SILENT = {
    "log_min_duration_statement": "-1",
    "log_connections": "off",
    "log_disconnections": "off",
    "shared_preload_libraries": "",
}


class Answers(BaseHTTPRequestHandler):
    """Kinesis and KMS, as far as the emitter asks, at next to no cost."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps(self.answer(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, body):
        if self.headers["X-Amz-Target"].endswith("GenerateDataKey"):
            key = base64.b64encode(bytes(32)).decode()
            return {"Plaintext": key, "CiphertextBlob": key, "KeyId": "key"}
        done = {"SequenceNumber": "1", "ShardId": "shardId-000000000000"}
        return {"FailedRecordCount": 0, "Records": [done] * body.count(b'"PartitionKey"')}

    def log_message(self, *arguments):
        pass


def answer(port):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    port.value = server.server_port
    server.serve_forever()


@contextlib.contextmanager
def clients():
    port = multiprocessing.Value("i", 0)
    process = multiprocessing.Process(target=answer, args=(port,), daemon=True)
    process.start()
    while not port.value:
        time.sleep(0.01)
    options = {
        "endpoint_url": f"http://127.0.0.1:{port.value}",
        "region_name": "us-east-1",
        "aws_access_key_id": "none",
        "aws_secret_access_key": "none",
    }
    yield {name: boto3.client(name, **options) for name in ("kinesis", "kms")}
    process.terminate()
    process.join()


class Measured(NamedTuple):
    """A round: transactions a second; the emitter's CPU microseconds, log bytes a statement."""

    tps: float
    cpu_us: float = 0.0
    log_bytes: float = 0.0


def pgbench(server, programs, *options):
    environment = {"PGPASSWORD": server.password, "PATH": os.defpath, "LC_ALL": "C"}
    done = subprocess.run(
        [
            programs / "pgbench",
            f"--host={server.host}",
            f"--port={server.port}",
            "--username=postgres",
            *options,
            "postgres",
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def transactions_a_second(server, programs, workload, seconds):
    options = ["--no-vacuum", f"--client={CLIENTS}", f"--time={seconds}", *WORKLOADS[workload]]
    return float(re.search(r"tps = ([\d.]+)", pgbench(server, programs, *options))[1])


def clear_log(server):
    """What earlier rounds have logged takes gigabytes."""
    time.sleep(1.1)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_rotate_logfile()")
    time.sleep(0.5)
    for old in sorted(server.log_directory.glob("*.json"))[:-1]:
        old.unlink()


@contextlib.contextmanager
def emitting(server, aws, start_at):
    """An emitter that runs in the block, and what it took."""
    emitter = Emitter(
        server.log_directory,
        stream="bench",
        resource_id="db-BENCHMARK",
        kms_key_id="key",
        kinesis=aws["kinesis"],
        kms=aws["kms"],
        server_version=server.version,
        start_at=start_at,
    )
    took = {}
    began = time.process_time()
    emitter.start()
    yield took
    emitter.stop()
    took["cpu_us"] = (time.process_time() - began) * 1e6 / emitter.statements
    log_bytes = sum(one.stat().st_size for one in server.log_directory.glob("*.json"))
    took["log_bytes"] = log_bytes / emitter.statements


def play(way, server, bench, aws):
    """A round in one way; `bench` runs pgbench and returns the transactions a second."""
    if way == "nothing":
        return Measured(bench())
    clear_log(server)
    if way == "pgaudit":
        tps = bench()
        with emitting(server, aws, "beginning") as took:
            pass
    else:
        with emitting(server, aws, "end") as took:
            tps = bench()
    return Measured(tps, **took)


def measure(workload, rounds, seconds):
    programs = find_programs("pgaudit")
    results = {way: [] for way in WAYS}
    with (
        PostgresServer(programs=programs, settings=DURABLE | SILENT) as plain,
        PostgresServer(programs=programs, settings=DURABLE) as audited,
        clients() as aws,
    ):
        for server in (plain, audited):
            pgbench(server, programs.bin, "--initialize", "--quiet", f"--scale={SCALE}")
        for _ in range(rounds):
            for way, server in zip(WAYS, (plain, audited, audited), strict=True):

                def bench(server=server):
                    return transactions_a_second(server, programs.bin, workload, seconds)

                results[way].append(play(way, server, bench, aws))
    return audited.version, results


def table(rounds, seconds):
    yield "| pgbench | with | transactions a second | of nothing | emitter's CPU a statement |"
    yield "|---|---|---|---|---|"
    notes = {}
    for workload in WORKLOADS:
        version, results = measure(workload, rounds, seconds)
        medians = {
            way: Measured(*(statistics.median(column) for column in zip(*ones, strict=True)))
            for way, ones in results.items()
        }
        for way, one in medians.items():
            cpu = f"{one.cpu_us:.1f} µs" if one.cpu_us else ""
            share = one.tps / medians["nothing"].tps
            yield f"| {workload} | {way} | {one.tps:,.0f} | {share:.2f} | {cpu} |"
        notes[workload] = f"{medians[WAYS[2]].log_bytes:,.0f} bytes a statement {workload}"
    yield ""
    yield (
        f"PostgreSQL {version} with pgaudit on {os.cpu_count()} shared cores, scale {SCALE}, "
        f"{CLIENTS} clients; medians of {rounds} alternating rounds of {seconds} s. "
        f"The log takes {', '.join(notes.values())}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    given = parser.parse_args()
    lines = []
    for line in table(given.rounds, given.seconds):
        print(line, flush=True)
        lines.append(line)
    if given.write:
        text = "\n".join(lines)
        PAGE.write_text(TABLE.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
