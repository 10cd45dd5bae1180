from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading

import pytest
from botocore.exceptions import ClientError

from dastream.errors import ConfigError
from dastream.local.endpoint import Endpoint

KMS_SCOPE = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/kms/aws4_request"


def connect(endpoint):
    return http.client.HTTPConnection("127.0.0.1", int(endpoint.url.rsplit(":", 1)[1]), timeout=5)


def code(excinfo):
    return excinfo.value.response["Error"]["Code"]


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

    def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(self, endpoint, bucket):
        connection = connect(endpoint)
        connection.putrequest("PUT", f"/{bucket}/asked")
        connection.putheader("Content-Length", "4")
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(99).startswith(b"HTTP/1.1 100 Continue")
        connection.send(b"body")
        assert connection.getresponse().status == 200
        connection.close()

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
        target = {"X-Amz-Target": "TrentService.DescribeKey", "Authorization": KMS_SCOPE}
        connection.request("POST", "/", body=b'{"KeyId": ["secret"]}', headers=target)
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (500, b"")
        connection.close()
        assert "the local endpoint failed on a request" in caplog.text
        assert "secret" not in caplog.text

    def test_what_kinesis_does_not_serve_is_an_unknown_operation(self, endpoint):
        with pytest.raises(ClientError) as excinfo:
            endpoint.client("kinesis").describe_limits()
        assert code(excinfo) == "UnknownOperationException"

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]"])
    def test_a_body_that_is_no_request_is_refused(self, endpoint, body):
        connection = connect(endpoint)
        target = {
            "X-Amz-Target": "Kinesis_20131202.GetRecords",
            "Authorization": KMS_SCOPE.replace("kms", "kinesis"),
        }
        connection.request("POST", "/", body=body, headers=target)
        reply = connection.getresponse()
        assert (reply.status, b"Exception" in reply.read()) == (400, True)
        connection.close()

    def test_says_nothing_while_it_serves(self, endpoint, bucket, capfd, caplog):
        caplog.set_level("INFO")
        endpoint.client("s3").put_object(Bucket=bucket, Key="a", Body=b"")
        assert capfd.readouterr() == ("", "")
        assert caplog.text == ""

    def test_other_services_are_not_served(self, endpoint):
        with pytest.raises(ClientError) as excinfo:
            endpoint.client("iam").list_users()
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
