"""A plain consumer, as one writes it in an afternoon: the thing to beat.

The official SDK, one KMS call a data key (here a stub at no cost), `json`, the events filtered,
one gzip object a batch. It keeps no receipt, no dead letters, and no promise about a crash.
"""

import base64
import gzip
import json
import zlib

from reference import KeyProvider, client

SERVICE_USERS = ("rdsadmin", "rdsproxyadmin")


class Consumer:
    def __init__(self, directory, kms_decrypt, *, level=9):
        self._directory = directory
        self._kms_decrypt = kms_decrypt
        self._level = level  # 9 is what `gzip.compress` does when nothing is said
        self._providers = {}

    def deliver(self, batch):
        lines = [json.dumps(event) for record in batch.records for event in self._events(record)]
        text = "".join(line + "\n" for line in lines).encode()
        path = self._directory / f"{batch.shard}-{batch.records[0].position.sequence}.json.gz"
        path.write_bytes(gzip.compress(text, self._level))

    def _events(self, record):
        envelope = json.loads(record.data)
        message = base64.b64decode(envelope["databaseActivityEvents"])
        decrypted, _header = client.decrypt(
            source=message, key_provider=self._provider(envelope["key"])
        )
        payload = json.loads(zlib.decompress(decrypted, zlib.MAX_WBITS + 16))
        for event in payload["databaseActivityEventList"]:
            if event["type"] != "heartbeat" and event.get("dbUserName") not in SERVICE_USERS:
                yield event

    def _provider(self, key):
        if key not in self._providers:
            provider = KeyProvider(self._kms_decrypt(base64.b64decode(key)))
            provider.add_master_key("DataKey")
            self._providers[key] = provider
        return self._providers[key]
