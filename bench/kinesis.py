"""What a put into the local Kinesis costs when much is there already.

Puts records into one shard until there are many, and compares the CPU time of the first calls
with that of the last ones, in one run and one process; the ratio is what counts.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from dastream.local.endpoint import Endpoint

RECORDS_A_CALL = 500
CALLS_COMPARED = 10
RECORD_BYTES = 1000


def cpu_us_a_record(kinesis, calls):
    records = [
        {"Data": os.urandom(RECORD_BYTES), "PartitionKey": str(number)}
        for number in range(RECORDS_A_CALL)
    ]
    began = time.process_time()
    for _ in range(calls):
        kinesis.put_records(StreamName="bench", Records=records)
    return (time.process_time() - began) * 1e6 / (calls * RECORDS_A_CALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, help="that are there at the end")
    given = parser.parse_args()
    calls = given.records // RECORDS_A_CALL - 2 * CALLS_COMPARED
    with tempfile.TemporaryDirectory() as directory, Endpoint(directory=Path(directory)) as peer:
        kinesis = peer.client("kinesis")
        kinesis.create_stream(StreamName="bench", ShardCount=1)
        cpu_us_a_record(kinesis, 1)  # what is loaded at the first call
        first = cpu_us_a_record(kinesis, CALLS_COMPARED)
        cpu_us_a_record(kinesis, calls)
        last = cpu_us_a_record(kinesis, CALLS_COMPARED)
    print(
        f"put into the local Kinesis: {first:.1f} µs of CPU a record in an empty stream, ", end=""
    )
    print(f"{last:.1f} µs after {given.records:,}: ratio {last / first:.2f}")


if __name__ == "__main__":
    main()
