"""Objects as on AWS: conditional writes, versions, Object Lock."""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from contract_calls import fault

PART = b"p" * (5 << 20)


@pytest.fixture
def s3(endpoint):
    return endpoint.client("s3")


@pytest.fixture
def bucket(s3):
    return make_bucket(s3)


@pytest.fixture
def versioned(s3):
    bucket = make_bucket(s3)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def locked(s3):
    """A bucket with Object Lock."""
    return make_bucket(s3, ObjectLockEnabledForBucket=True)


def make_bucket(s3, **how):
    name = f"bucket-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name, **how)
    return name


def body(s3, **where):
    return s3.get_object(**where)["Body"].read()


def in_days(days):
    return datetime.now(UTC) + timedelta(days=days)


def put_locked(s3, bucket, mode, until=None):
    """An object under retention, as what names its version."""
    put = s3.put_object(
        Bucket=bucket,
        Key="a",
        Body=b"locked",
        ObjectLockMode=mode,
        ObjectLockRetainUntilDate=until or in_days(1),
    )
    return {"Bucket": bucket, "Key": "a", "VersionId": put["VersionId"]}


class TestObjects:
    @pytest.mark.parametrize("size", [0, 1, 9_000_000])
    @pytest.mark.parametrize("key", ["a/b c.gz", "ключ=%2F+?#&.txt"])
    def test_gives_back_what_was_put(self, s3, bucket, key, size):
        content = os.urandom(size)
        s3.put_object(Bucket=bucket, Key=key, Body=content, Metadata={"by": "me"})
        head = s3.head_object(Bucket=bucket, Key=key)
        assert (head["ContentLength"], head["Metadata"]) == (size, {"by": "me"})
        assert body(s3, Bucket=bucket, Key=key) == content
        (listed,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
        assert (listed["Key"], listed["Size"]) == (key, size)

    def test_gives_a_range(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="a", Body=b"0123456789")
        assert body(s3, Bucket=bucket, Key="a", Range="bytes=2-4") == b"234"
        assert body(s3, Bucket=bucket, Key="a", Range="bytes=-2") == b"89"

    def test_a_missing_object_is_not_found(self, s3, bucket):
        assert fault(s3.get_object, Bucket=bucket, Key="none") == "NoSuchKey"
        assert fault(s3.head_object, Bucket=bucket, Key="none") == "404"
        assert fault(s3.list_objects_v2, Bucket="no-such-bucket") == "NoSuchBucket"

    def test_lists_in_pages_and_by_prefix(self, s3, bucket):
        keys = sorted(f"{letter}/{n}" for letter in "ab" for n in range(3))
        for key in keys:
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": 2}
        )
        assert [o["Key"] for page in pages for o in page["Contents"]] == keys
        listed = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
        assert [p["Prefix"] for p in listed["CommonPrefixes"]] == ["a/", "b/"]
        after = s3.list_objects_v2(Bucket=bucket, Prefix="b/", StartAfter="b/0")
        assert [o["Key"] for o in after["Contents"]] == ["b/1", "b/2"]

    def test_parts_become_an_object(self, s3, bucket):
        where = {"Bucket": bucket, "Key": "a"}
        upload = s3.create_multipart_upload(**where)["UploadId"]
        parts = []
        for number, content in enumerate((PART, b"end"), start=1):
            put = s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=content)
            parts.append({"PartNumber": number, "ETag": put["ETag"]})
        s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
        assert body(s3, **where) == PART + b"end"

    def test_copies(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
        assert body(s3, Bucket=bucket, Key="b") == b"x"


class TestConditions:
    def test_the_first_of_two_conditional_puts_wins(self, s3, bucket):
        put = {"Bucket": bucket, "Key": "a", "IfNoneMatch": "*"}
        s3.put_object(**put, Body=b"first")
        assert fault(s3.put_object, **put, Body=b"second") == "PreconditionFailed"
        assert body(s3, Bucket=bucket, Key="a") == b"first"

    def test_one_of_many_conditional_puts_at_once_wins(self, s3, bucket):
        def put(n):
            with suppress(ClientError):
                s3.put_object(Bucket=bucket, Key="a", Body=b"%d" % n, IfNoneMatch="*")
                return b"%d" % n
            return None

        with ThreadPoolExecutor(8) as pool:
            won = [result for result in pool.map(put, range(40)) if result is not None]
        assert won == [body(s3, Bucket=bucket, Key="a")]

    def test_a_deleted_object_is_none(self, s3, versioned):
        put = {"Bucket": versioned, "Key": "a", "IfNoneMatch": "*"}
        s3.put_object(**put, Body=b"first")
        s3.delete_object(Bucket=versioned, Key="a")
        s3.put_object(**put, Body=b"second")
        assert body(s3, Bucket=versioned, Key="a") == b"second"

    def test_an_object_is_replaced_if_it_is_the_one(self, s3, bucket):
        where = {"Bucket": bucket, "Key": "a"}
        etag = s3.put_object(**where, Body=b"1")["ETag"]
        s3.put_object(**where, Body=b"2", IfMatch=etag)
        assert fault(s3.put_object, **where, Body=b"3", IfMatch=etag) == "PreconditionFailed"
        assert body(s3, **where) == b"2"

    def test_a_missing_object_is_not_replaced(self, s3, bucket):
        code = fault(s3.put_object, Bucket=bucket, Key="none", Body=b"3", IfMatch='"x"')
        assert code == "NoSuchKey"

    def test_an_upload_in_parts_can_be_conditional(self, s3, bucket):
        where = {"Bucket": bucket, "Key": "a"}
        upload = s3.create_multipart_upload(**where)["UploadId"]
        etag = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"parts")["ETag"]
        s3.put_object(**where, Body=b"first")
        code = fault(
            s3.complete_multipart_upload,
            **where,
            UploadId=upload,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
            IfNoneMatch="*",
        )
        assert code == "PreconditionFailed"

    def test_an_object_is_deleted_if_it_is_the_one(self, s3, bucket):
        where = {"Bucket": bucket, "Key": "a"}
        etag = s3.put_object(**where, Body=b"1")["ETag"]
        assert fault(s3.delete_object, **where, IfMatch='"x"') == "PreconditionFailed"
        s3.delete_object(**where, IfMatch=etag)
        assert fault(s3.get_object, **where) == "NoSuchKey"

    def test_an_object_is_read_if_it_is_another(self, s3, bucket):
        where = {"Bucket": bucket, "Key": "a"}
        etag = s3.put_object(**where, Body=b"1")["ETag"]
        assert fault(s3.get_object, **where, IfNoneMatch=etag) == "304"
        assert fault(s3.get_object, **where, IfMatch='"x"') == "PreconditionFailed"


class TestVersions:
    def test_all_versions_stay(self, s3, versioned):
        where = {"Bucket": versioned, "Key": "a"}
        ids = [s3.put_object(**where, Body=b"%d" % n)["VersionId"] for n in range(3)]
        assert [body(s3, **where, VersionId=id) for id in ids] == [b"0", b"1", b"2"]
        listed = s3.list_object_versions(Bucket=versioned)["Versions"]
        assert [(v["VersionId"], v["IsLatest"]) for v in listed] == [
            (ids[2], True),
            (ids[1], False),
            (ids[0], False),
        ]

    def test_a_deleted_object_comes_back_without_its_marker(self, s3, versioned):
        where = {"Bucket": versioned, "Key": "a"}
        s3.put_object(**where, Body=b"1")
        marker = s3.delete_object(**where)
        assert marker["DeleteMarker"] is True
        assert fault(s3.get_object, **where) == "NoSuchKey"
        assert "Contents" not in s3.list_objects_v2(Bucket=versioned)
        s3.delete_object(**where, VersionId=marker["VersionId"])
        assert body(s3, **where) == b"1"

    def test_a_version_can_be_deleted_for_good(self, s3, versioned):
        where = {"Bucket": versioned, "Key": "a"}
        first, second = (s3.put_object(**where, Body=b)["VersionId"] for b in (b"1", b"2"))
        s3.delete_object(**where, VersionId=second)
        assert body(s3, **where) == b"1"
        assert fault(s3.get_object, **where, VersionId=second) == "NoSuchVersion"
        assert body(s3, **where, VersionId=first) == b"1"

    @pytest.mark.differs(endpoint="drops older versions at a put while versioning is suspended")
    def test_versions_stay_when_versioning_is_suspended(self, s3, versioned):
        where = {"Bucket": versioned, "Key": "a"}
        first = s3.put_object(**where, Body=b"1")["VersionId"]
        s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
        s3.put_object(**where, Body=b"2")
        assert body(s3, **where, VersionId=first) == b"1"

    def test_a_bucket_with_objects_is_not_deleted(self, s3, bucket):
        s3.put_object(Bucket=bucket, Key="a", Body=b"")
        assert fault(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"


class TestObjectLock:
    def test_a_bucket_with_object_lock_is_versioned(self, s3, locked):
        assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
        found = s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]
        assert found["ObjectLockEnabled"] == "Enabled"

    def test_compliance_keeps_a_version_from_everybody(self, s3, locked):
        version = put_locked(s3, locked, "COMPLIANCE")
        assert fault(s3.delete_object, **version) == "AccessDenied"
        code = fault(s3.delete_object, **version, BypassGovernanceRetention=True)
        assert code == "AccessDenied"
        assert body(s3, **version) == b"locked"

    def test_governance_keeps_a_version_from_those_who_do_not_bypass_it(self, s3, locked):
        version = put_locked(s3, locked, "GOVERNANCE")
        assert fault(s3.delete_object, **version) == "AccessDenied"
        s3.delete_object(**version, BypassGovernanceRetention=True)
        assert fault(s3.get_object, **version) == "NoSuchVersion"

    def test_retention_ends(self, s3, locked):
        until = datetime.now(UTC) + timedelta(seconds=2)
        version = put_locked(s3, locked, "COMPLIANCE", until)
        assert fault(s3.delete_object, **version) == "AccessDenied"
        time.sleep(2.1)
        s3.delete_object(**version)

    def test_a_legal_hold_keeps_a_version_until_it_is_lifted(self, s3, locked):
        put = s3.put_object(Bucket=locked, Key="a", Body=b"", ObjectLockLegalHoldStatus="ON")
        version = {"Bucket": locked, "Key": "a", "VersionId": put["VersionId"]}
        assert fault(s3.delete_object, **version) == "AccessDenied"
        s3.put_object_legal_hold(**version, LegalHold={"Status": "OFF"})
        s3.delete_object(**version)

    def test_a_locked_object_can_be_covered_but_stays(self, s3, locked):
        version = put_locked(s3, locked, "COMPLIANCE")
        s3.put_object(Bucket=locked, Key="a", Body=b"new")
        s3.delete_object(Bucket=locked, Key="a")
        assert body(s3, **version) == b"locked"

    def test_deleting_many_says_which_were_kept(self, s3, locked):
        version = put_locked(s3, locked, "COMPLIANCE")
        named = {"Key": "a", "VersionId": version["VersionId"]}
        reply = s3.delete_objects(Bucket=locked, Delete={"Objects": [named]})
        assert [error["Key"] for error in reply["Errors"]] == ["a"]
        assert body(s3, **version) == b"locked"

    def test_a_default_retention_is_given_to_new_objects(self, s3, locked):
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
        s3.put_object_lock_configuration(
            Bucket=locked,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )
        put = s3.put_object(Bucket=locked, Key="a", Body=b"")
        version = {"Bucket": locked, "Key": "a", "VersionId": put["VersionId"]}
        assert s3.head_object(**version)["ObjectLockMode"] == "COMPLIANCE"
        assert fault(s3.delete_object, **version) == "AccessDenied"

    def test_retention_can_be_prolonged(self, s3, locked):
        version = put_locked(s3, locked, "COMPLIANCE")
        longer = {"Mode": "COMPLIANCE", "RetainUntilDate": in_days(9)}
        s3.put_object_retention(**version, Retention=longer)
        assert s3.head_object(**version)["ObjectLockRetainUntilDate"] > in_days(8)

    @pytest.mark.differs(endpoint="has no GetObjectRetention; HeadObject tells the same")
    def test_retention_is_told(self, s3, locked):
        version = put_locked(s3, locked, "COMPLIANCE")
        assert s3.get_object_retention(**version)["Retention"]["Mode"] == "COMPLIANCE"

    @pytest.mark.differs(
        endpoint="shortens COMPLIANCE retention, or makes it GOVERNANCE, for anybody"
    )
    def test_compliance_cannot_be_shortened_or_weakened(self, s3, locked):
        version = put_locked(s3, locked, "COMPLIANCE", in_days(9))
        for mode, days in (("COMPLIANCE", 1), ("GOVERNANCE", 10)):
            retention = {"Mode": mode, "RetainUntilDate": in_days(days)}
            code = fault(s3.put_object_retention, **version, Retention=retention)
            assert code == "AccessDenied"

    @pytest.mark.differs(endpoint="shortens GOVERNANCE retention without a bypass")
    def test_governance_is_shortened_only_by_bypassing_it(self, s3, locked):
        version = put_locked(s3, locked, "GOVERNANCE", in_days(9))
        shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": in_days(1)}
        assert fault(s3.put_object_retention, **version, Retention=shorter) == "AccessDenied"
        s3.put_object_retention(**version, Retention=shorter, BypassGovernanceRetention=True)

    @pytest.mark.differs(endpoint="suspends the versioning of a bucket with Object Lock")
    def test_versioning_of_a_bucket_with_object_lock_stays_on(self, s3, locked):
        off = {"Status": "Suspended"}
        code = fault(s3.put_bucket_versioning, Bucket=locked, VersioningConfiguration=off)
        assert code == "InvalidBucketState"

    @pytest.mark.differs(endpoint="takes a retention that has ended already")
    def test_a_retention_in_the_past_is_refused(self, s3, locked):
        with pytest.raises(ClientError, match=r"InvalidArgument|InvalidRequest"):
            put_locked(s3, locked, "COMPLIANCE", in_days(-1))

    def test_a_bucket_without_object_lock_takes_no_retention(self, s3, bucket):
        with pytest.raises(ClientError, match="InvalidRequest"):
            put_locked(s3, bucket, "COMPLIANCE")
