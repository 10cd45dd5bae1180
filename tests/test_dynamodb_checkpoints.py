"""What DynamoDB adds to the contract of checkpoints, which is in test_checkpoint.py."""

import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import pytest
from botocore.config import Config

from dastream.checkpoint import Beginning, open_checkpoints
from dastream.checkpoint.dynamodb import DynamodbCheckpoints
from dastream.errors import ConfigError, ServiceError
from dastream.record import SHARD_END

STREAM = "aws-rds-das-cluster-ABC"


@pytest.fixture
def consumer(table):
    """Opens the store as each start of a consumer does."""
    opened = []

    def start():
        opened.append(open_checkpoints(f"dynamodb://{table}"))
        return opened[-1]

    yield start
    for store in opened:
        store.close()


def test_next_start_goes_on_where_the_last_one_ended(consumer):
    first = consumer()
    first.begin(STREAM, Beginning(1_700_000_000_000, 5, 86_400_000, 3), aside="aside")
    first.commit(STREAM, "shard-0", "10")
    first.commit(STREAM, "shard-1", SHARD_END)

    second = consumer()

    assert second.beginning(STREAM) == Beginning(1_700_000_000_000, 5, 86_400_000, 3)
    assert second.progress(STREAM) == {"shard-0": "10", "shard-1": SHARD_END}


def test_older_consumer_stops_at_its_next_commit(consumer):
    older = consumer()
    older.commit(STREAM, "shard-0", "10")
    newer = consumer()
    assert newer.progress(STREAM) == {"shard-0": "10"}

    with pytest.raises(ServiceError, match="another consumer has taken this stream over") as caught:
        older.commit(STREAM, "shard-0", "11")

    assert "one consumer" in caught.value.hint
    newer.commit(STREAM, "shard-0", "12")
    assert consumer().progress(STREAM) == {"shard-0": "12"}


def test_older_consumer_cannot_begin_a_stream_anew(consumer):
    older = consumer()
    older.commit(STREAM, "shard-0", "10")
    newer = consumer()
    newer.commit(STREAM, "shard-0", "11")

    with pytest.raises(ServiceError, match="taken this stream over"):
        older.begin(STREAM, Beginning(1, 0, 2, 3), aside="aside")

    assert consumer().progress(STREAM) == {"shard-0": "11"}


def test_consumers_of_different_streams_share_a_table(consumer):
    one, other = consumer(), consumer()
    one.commit("one", "shard-0", "1")
    other.commit("other", "shard-0", "2")
    one.commit("one", "shard-0", "3")

    assert (one.progress("one"), other.progress("other")) == ({"shard-0": "3"}, {"shard-0": "2"})


def test_item_that_somebody_removed_stops_the_consumer(consumer, table, aws):
    store = consumer()
    store.commit(STREAM, "shard-0", "10")
    aws.client("dynamodb").delete_item(TableName=table, Key={"stream": {"S": STREAM}})

    with pytest.raises(ServiceError, match="state: "):
        store.commit(STREAM, "shard-0", "11")


def test_a_commit_is_one_call_and_a_start_another(table, aws, monkeypatch):
    with counting_proxy(aws.url) as (url, calls):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with closing(open_checkpoints(f"dynamodb://{table}")) as store:
            store.beginning(STREAM)
            store.progress(STREAM)
            for number in range(3):
                store.commit(STREAM, "shard-0", str(number))
            store.progress(STREAM)

    assert calls == ["DynamoDB_20120810.UpdateItem"] * 4


def test_missing_table_is_refused_with_the_command_that_creates_it(aws):
    store = open_checkpoints("dynamodb://not-there?region=eu-west-1")

    with pytest.raises(ConfigError, match="there is no table not-there") as caught:
        store.beginning(STREAM)

    store.close()
    assert "aws dynamodb create-table --table-name not-there " in caught.value.hint


def test_table_of_another_program_is_refused(aws):
    aws.client("dynamodb").create_table(
        TableName="orders",
        AttributeDefinitions=[{"AttributeName": "order", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "order", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )

    store = open_checkpoints("dynamodb://orders")

    with pytest.raises(ConfigError, match="no table orders for checkpoints"):
        store.progress(STREAM)

    store.close()


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "AccessDeniedException", "InternalServerError"]
)
def test_trouble_is_an_error_after_a_bounded_number_of_calls(aws, code):
    with server(lambda handler: reply(handler, 400, b'{"__type":"x#%s"}' % code.encode())) as url:
        store = DynamodbCheckpoints(client(url), "table")
        with pytest.raises(ServiceError, match=f"cannot write to table table .{code}.") as caught:
            store.progress(STREAM)

    assert "dynamodb:UpdateItem" in caught.value.hint
    store.close()


def test_table_out_of_reach_is_an_error(aws):
    with server(None) as url:
        pass  # nobody listens there any more
    store = DynamodbCheckpoints(client(url), "table")

    with pytest.raises(ServiceError, match="EndpointConnectionError") as caught:
        store.progress(STREAM)
    assert "VPC endpoint" in caught.value.hint

    store.close()


@pytest.mark.parametrize("url", ["dynamodb://", "dynamodb://t/more", "dynamodb://t?generation=1"])
def test_other_urls_are_refused(aws, url):
    with pytest.raises(ConfigError, match="not dynamodb://TABLE"):
        open_checkpoints(url)


def client(url):
    """As ours, but without its patience."""
    retries = {"mode": "standard", "total_max_attempts": 2}
    return boto3.client("dynamodb", endpoint_url=url, config=Config(retries=retries))


@contextmanager
def counting_proxy(target):
    """A server that hands calls on, and which they were."""
    import urllib.request

    calls = []

    def hand_on(handler):
        calls.append(handler.headers["X-Amz-Target"])
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        request = urllib.request.Request(target, body, dict(handler.headers))
        with urllib.request.urlopen(request) as answer:
            reply(handler, answer.status, answer.read())

    with server(hand_on) as url:
        yield url, calls


@contextmanager
def server(answer):
    """The URL of a server that answers each POST with a call of `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            answer(self)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def reply(handler, status, body):
    handler.send_response(status)
    handler.send_header("Content-Type", "application/x-amz-json-1.0")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
