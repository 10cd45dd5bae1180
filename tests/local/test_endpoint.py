from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from dastream.errors import ConfigError
from dastream.local.endpoint import Endpoint

KINESIS_SCOPE = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/kinesis/aws4_request"


def read_all(kinesis, stream):
    records = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while (page := kinesis.get_records(ShardIterator=iterator))["Records"]:
            records += page["Records"]
            iterator = page["NextShardIterator"]
    return records


def put(kinesis, stream, data):
    reply = kinesis.put_records(
        StreamName=stream, Records=[{"Data": d, "PartitionKey": d.decode()[-40:]} for d in data]
    )
    assert reply["FailedRecordCount"] == 0
    return [record["SequenceNumber"] for record in reply["Records"]]


def connect(endpoint):
    return http.client.HTTPConnection("127.0.0.1", int(endpoint.url.rsplit(":", 1)[1]), timeout=5)


def code(excinfo):
    return excinfo.value.response["Error"]["Code"]


class TestKinesis:
    def test_no_acknowledged_record_of_four_threads_is_lost(self, endpoint, stream):
        kinesis = endpoint.client("kinesis")

        def put_thread(thread):
            sequences = []
            for i in range(0, 5000, 100):
                data = [b"%d-%d" % (thread, j) for j in range(i, i + 100)]
                sequences += zip(data, put(kinesis, stream, data), strict=True)
            return sequences

        with ThreadPoolExecutor(4) as pool:
            acknowledged = [pair for pairs in pool.map(put_thread, range(4)) for pair in pairs]
        records = read_all(kinesis, stream)
        assert len(acknowledged) == 20_000
        assert sorted(acknowledged) == sorted((r["Data"], r["SequenceNumber"]) for r in records)
        assert len({r["SequenceNumber"] for r in records}) == 20_000

    def test_sequence_numbers_of_a_recreated_stream_go_on(self, endpoint):
        kinesis = endpoint.client("kinesis")
        sequences = []
        for _ in range(2):
            kinesis.create_stream(StreamName="recreated", ShardCount=1)
            sequences += put(kinesis, "recreated", [b"a", b"b"])
            kinesis.delete_stream(StreamName="recreated")
        assert [len(s) for s in sequences] == [56] * 4
        assert sorted(sequences, key=int) == sequences

    def test_latest_and_after_give_what_comes_later(self, endpoint):
        kinesis = endpoint.client("kinesis")
        kinesis.create_stream(StreamName="iterators", ShardCount=1)
        where = {"StreamName": "iterators", "ShardId": "shardId-000000000000"}
        latest = kinesis.get_shard_iterator(**where, ShardIteratorType="LATEST")
        first, _ = put(kinesis, "iterators", [b"a", b"b"])
        after = kinesis.get_shard_iterator(
            **where, ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=first
        )
        got = [
            [r["Data"] for r in kinesis.get_records(ShardIterator=i["ShardIterator"])["Records"]]
            for i in (latest, after)
        ]
        assert got == [[b"a", b"b"], [b"b"]]

    def test_records_go_with_their_stream(self, endpoint):
        from moto.kinesis.models import Record

        kinesis = endpoint.client("kinesis")
        kinesis.create_stream(StreamName="forgotten", ShardCount=1)
        put(kinesis, "forgotten", [b"a"])
        assert Record.instances_tracked == []


class TestKms:
    @pytest.fixture
    def key(self, endpoint):
        return endpoint.client("kms").create_key()["KeyMetadata"]["KeyId"]

    def test_a_data_key_opens_under_its_context_only(self, endpoint, key):
        kms = endpoint.client("kms")
        context = {"aws:rds:dbc-id": "cluster-A"}
        made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=context)
        blob = made["CiphertextBlob"]
        opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)
        assert opened["Plaintext"] == made["Plaintext"]
        for wrong in ({}, {"aws:rds:dbc-id": "cluster-B"}):
            with pytest.raises(ClientError) as excinfo:
                kms.decrypt(CiphertextBlob=blob, EncryptionContext=wrong)
            assert code(excinfo) == "InvalidCiphertextException"

    def test_a_disabled_key_refuses_to_work_until_it_is_enabled(self, endpoint, key):
        kms = endpoint.client("kms")
        blob = kms.generate_data_key(KeyId=key, KeySpec="AES_256")["CiphertextBlob"]
        kms.disable_key(KeyId=key)
        for call, arguments in (
            (kms.decrypt, {"CiphertextBlob": blob}),
            (kms.encrypt, {"KeyId": key, "Plaintext": b"x"}),
            (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
            (kms.generate_data_key_without_plaintext, {"KeyId": key, "KeySpec": "AES_256"}),
        ):
            with pytest.raises(ClientError) as excinfo:
                call(**arguments)
            assert code(excinfo) == "DisabledException"
        kms.enable_key(KeyId=key)
        assert kms.decrypt(CiphertextBlob=blob)["KeyId"].endswith(key)

    def test_a_key_to_be_deleted_refuses_to_work(self, endpoint, key):
        kms = endpoint.client("kms")
        blob = kms.generate_data_key(KeyId=key, KeySpec="AES_256")["CiphertextBlob"]
        kms.schedule_key_deletion(KeyId=key)
        with pytest.raises(ClientError) as excinfo:
            kms.decrypt(CiphertextBlob=blob)
        assert code(excinfo) == "KMSInvalidStateException"


class TestS3:
    @pytest.mark.parametrize("body", [b"", b"x", os.urandom(9_000_000)], ids=["empty", "1B", "9MB"])
    def test_gives_back_what_was_put(self, endpoint, bucket, body):
        s3 = endpoint.client("s3")
        s3.put_object(Bucket=bucket, Key="a/b c.gz", Body=body)
        assert s3.head_object(Bucket=bucket, Key="a/b c.gz")["ContentLength"] == len(body)
        assert s3.get_object(Bucket=bucket, Key="a/b c.gz")["Body"].read() == body

    def test_the_first_of_two_conditional_puts_wins(self, endpoint, bucket):
        s3 = endpoint.client("s3")
        s3.put_object(Bucket=bucket, Key="a", Body=b"first", IfNoneMatch="*")
        with pytest.raises(ClientError) as excinfo:
            s3.put_object(Bucket=bucket, Key="a", Body=b"second", IfNoneMatch="*")
        assert code(excinfo) == "PreconditionFailed"
        assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"first"

    def test_a_missing_object_is_not_found(self, endpoint, bucket):
        with pytest.raises(ClientError) as excinfo:
            endpoint.client("s3").head_object(Bucket=bucket, Key="none")
        assert code(excinfo) == "404"


class TestServer:
    def test_a_connection_serves_many_requests(self, endpoint):
        connection = connect(endpoint)
        sockets = set()
        for _ in range(3):
            connection.request("GET", "/")
            reply = connection.getresponse()
            assert reply.status == 200
            assert reply.read()
            sockets.add(connection.sock)
        connection.close()
        assert len(sockets) == 1
        assert None not in sockets

    def test_a_chunked_body_arrives(self, endpoint, bucket):
        connection = connect(endpoint)
        connection.request("PUT", f"/{bucket}/chunked", body=iter([b"ab", b"c"]))
        assert connection.getresponse().status == 200
        connection.close()
        got = endpoint.client("s3").get_object(Bucket=bucket, Key="chunked")
        assert got["Body"].read() == b"abc"

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://example.com"},
            {"Host": "example.com"},
            {"Host": "localhost.example.com:80"},
            {"Host": "not-localhost"},
        ],
    )
    def test_a_web_page_is_refused(self, endpoint, headers):
        connection = connect(endpoint)
        connection.request("GET", "/", headers=headers)
        assert connection.getresponse().status == 403
        connection.close()

    @pytest.mark.parametrize("length", ["99999999999", "-1", "x"])
    def test_a_body_without_a_sane_length_is_refused(self, endpoint, length):
        connection = connect(endpoint)
        connection.putrequest("PUT", "/bucket/key")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()

    def test_a_body_of_which_only_a_part_comes_changes_nothing(self, endpoint, bucket):
        connection = connect(endpoint)
        connection.putrequest("PUT", f"/{bucket}/torn")
        connection.putheader("Content-Length", "10")
        connection.endheaders(b"part")
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.sock.recv(1) == b""
        connection.close()
        assert endpoint.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_what_moto_cannot_do_is_an_error_that_quotes_nothing(self, endpoint, caplog):
        connection = connect(endpoint)
        target = {"X-Amz-Target": "Kinesis_20131202.GetRecords", "Authorization": KINESIS_SCOPE}
        connection.request("POST", "/", body=b'{"ShardIterator": "secret"}', headers=target)
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (500, b"")
        connection.close()
        assert "the local endpoint failed on a request" in caplog.text
        assert "secret" not in caplog.text

    def test_says_nothing_while_it_serves(self, endpoint, bucket, capfd, caplog):
        caplog.set_level("INFO")
        endpoint.client("s3").put_object(Bucket=bucket, Key="a", Body=b"")
        assert capfd.readouterr() == ("", "")
        assert caplog.text == ""

    def test_other_services_are_not_served(self, endpoint):
        with pytest.raises(ClientError) as excinfo:
            endpoint.client("sts").get_caller_identity()
        assert code(excinfo) == "501"

    def test_is_bound_to_the_loopback_address(self, endpoint):
        assert endpoint.url.startswith("http://127.0.0.1:")
        port = int(endpoint.url.rsplit(":", 1)[1])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=1)

    def test_another_process_finds_it_by_its_environment(self, endpoint, bucket):
        script = (
            "import boto3; print([b['Name'] for b in boto3.client('s3').list_buckets()['Buckets']])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=endpoint.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert bucket in done.stdout


class TestLife:
    """Endpoints of their own: none of the fixture's is running here."""

    @pytest.fixture(autouse=True)
    def _without_the_shared_endpoint(self, endpoint):
        endpoint.stop()
        yield
        endpoint.start()

    def test_starts_empty(self):
        for _ in range(2):
            with Endpoint() as endpoint:
                kinesis, s3 = endpoint.client("kinesis"), endpoint.client("s3")
                assert kinesis.list_streams()["StreamNames"] == []
                assert s3.list_buckets()["Buckets"] == []
                kinesis.create_stream(StreamName="s", ShardCount=1)
                s3.create_bucket(Bucket="bucket")

    def test_a_second_one_in_the_process_is_refused(self):
        with Endpoint(), pytest.raises(ConfigError, match="in this process already"):
            Endpoint().start()
        with Endpoint():
            pass

    def test_a_taken_port_is_refused_and_a_free_one_kept(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ConfigError, match=f"cannot listen on port {port}"):
                Endpoint(port=port).start()
        with Endpoint(port=port) as endpoint:
            assert endpoint.url == f"http://127.0.0.1:{port}"

    def test_stopping_ends_open_connections_and_all_threads(self):
        before = set(threading.enumerate())
        with Endpoint() as endpoint:
            idle = connect(endpoint)
            idle.request("GET", "/")
            idle.getresponse().read()
            endpoint.client("kms").list_keys()
            assert set(threading.enumerate()) > before
        assert set(threading.enumerate()) == before
        assert idle.sock.recv(1) == b""
        idle.close()

    def test_stopping_twice_is_as_good_as_once(self):
        endpoint = Endpoint()
        endpoint.stop()
        endpoint.start()
        endpoint.stop()
        endpoint.stop()
