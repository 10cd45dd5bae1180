"""What a million events cost on AWS, with the reference handler and with dastream.

Computed from one table, which `bench/decode.py` measures, and from public prices. Prints a table;
`--write` puts it into docs/cost.md.
"""

import argparse
import math
import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "cost.md"
TABLES = re.compile(r"(<!-- computed -->\n).*?(<!-- end -->)", re.DOTALL)

EVENTS = 1_000_000
KMS_MS = 5.0
"""How long a call of KMS takes, during which a Lambda function is paid for."""
RECORDS_A_KEY = 250
"""Records between two data keys; an assumption, since AWS does not say."""
INVOCATION_BYTES = 1_000_000
"""Firehose's usual buffer for a transformation."""
LAMBDA_GB = 1769 / 1024
"""Memory at which a function has one processor (Lambda Developer Guide)."""


class Price(NamedTuple):
    """A public price of us-east-1, in US dollars, and where it stands."""

    dollars: float
    unit: str
    source: str


PRICES = {
    "lambda": Price(0.0000166667, "GB-second, x86", "https://aws.amazon.com/lambda/pricing/"),
    "invocation": Price(0.20 / 1e6, "invocation", "https://aws.amazon.com/lambda/pricing/"),
    "kms": Price(0.03 / 1e4, "call", "https://aws.amazon.com/kms/pricing/"),
    "kinesis in": Price(
        0.08, "GB written, on demand", "https://aws.amazon.com/kinesis/data-streams/pricing/"
    ),
    "kinesis out": Price(
        0.04, "GB read, on demand", "https://aws.amazon.com/kinesis/data-streams/pricing/"
    ),
    "firehose": Price(0.029, "GB taken in", "https://aws.amazon.com/firehose/pricing/"),
}
PRICES_AS_OF = "2025"


class Measured(NamedTuple):
    """A row of the table: CPU microseconds a record."""

    suite: str
    events: int
    record_bytes: int
    reference_us: float
    dastream_us: float


def measured():
    """The rows of docs/performance.md that are about the handler."""
    for line in (DOCS / "performance.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "Firehose handler":
            yield Measured(cells[1], int(cells[2]), int(cells[3]), float(cells[4]), float(cells[5]))


def dollars(row, cpu_us, kms_calls):
    """Dollars for EVENTS events: Lambda, KMS, Kinesis, Firehose."""
    records = EVENTS / row.events
    seconds = records * cpu_us / 1e6 + kms_calls * KMS_MS / 1e3
    invocations = records * row.record_bytes / INVOCATION_BYTES
    kinesis_gb = records * rounded_up(row.record_bytes, 1024) / 1e9
    firehose_gb = records * rounded_up(row.record_bytes, 5 * 1024) / 1e9
    return (
        seconds * LAMBDA_GB * PRICES["lambda"].dollars + invocations * PRICES["invocation"].dollars,
        kms_calls * PRICES["kms"].dollars,
        kinesis_gb * (PRICES["kinesis in"].dollars + PRICES["kinesis out"].dollars),
        firehose_gb * PRICES["firehose"].dollars,
    )


def rounded_up(size, unit):
    """What is billed for a record, in bytes."""
    return math.ceil(size / unit) * unit


def tables():
    yield "| suite | events a record | handler | Lambda | KMS | Kinesis | Firehose | together |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in measured():
        records = EVENTS / row.events
        for name, cpu_us, calls in (
            ("reference", row.reference_us, records),
            ("dastream", row.dastream_us, math.ceil(records / RECORDS_A_KEY)),
        ):
            parts = dollars(row, cpu_us, calls)
            cells = " | ".join(f"${part:.3f}" for part in (*parts, sum(parts)))
            yield f"| {row.suite} | {row.events} | {name} | {cells} |"
    yield ""
    yield f"The prices ({PRICES_AS_OF}, us-east-1):"
    yield ""
    yield "| | dollars | for a | source |\n|---|---|---|---|"
    for name, price in PRICES.items():
        yield f"| {name} | {price.dollars:.10g} | {price.unit} | <{price.source}> |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    given = parser.parse_args()
    text = "\n".join(tables())
    print(text)
    if given.write:
        PAGE.write_text(TABLES.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
