"""An activity stream on the local endpoint, filled with records, and a bucket."""

from contextlib import contextmanager

from support import CONTEXT, STREAM, sealed


@contextmanager
def streamed(aws, bucket, records, *, key_id=None, shards=1):
    """The stream of the tests' cluster, and a bucket, while the block runs.

    A record is a list of entries, or bytes that are put as they are; a dict before the list,
    in a tuple, is passed on to `sealed`.
    """
    kinesis, kms, s3 = (aws.client(name) for name in ("kinesis", "kms", "s3"))
    s3.create_bucket(Bucket=bucket)
    kinesis.create_stream(StreamName=STREAM, ShardCount=shards)
    made = kms.generate_data_key(
        KeyId=key_id or kms.create_key()["KeyMetadata"]["KeyId"],
        KeySpec="AES_256",
        EncryptionContext=CONTEXT,
    )
    sealing = {"data_key": made["Plaintext"], "key": made["CiphertextBlob"]}
    for number, record in enumerate(records):
        how, content = record if isinstance(record, tuple) else ({}, record)
        data = content if isinstance(content, bytes) else sealed(content, **sealing, **how)
        kinesis.put_record(StreamName=STREAM, Data=data, PartitionKey=f"key {number}")
    try:
        yield STREAM
    finally:
        kinesis.delete_stream(StreamName=STREAM)
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=bucket)
