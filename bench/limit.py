"""What no decoder can leave out, each by the fastest library that is here.

base64, the three AES-GCM calls and HKDF, the signature, inflate, and a copy of the text. Nothing
of JSON is in it.
"""

import binascii
import functools
import hashlib
import json
import time
import zlib

import isal.isal_zlib
import pybase64
import zlib_ng.zlib_ng
from awscrt.crypto import EC
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from workload import unwrap

from dastream.format.message import open_message
from dastream.format.header import parse
from dastream.format.payload import gunzip

PRIVATE = ec.generate_private_key(ec.SECP384R1())


def cpu_us(call, rounds):
    """Least CPU of a call in microseconds: the limit is what is possible."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time_ns()
        for _ in range(20):
            call()
        best = min(best, (time.process_time_ns() - began) / 20_000)
    return best


def fastest(calls, rounds=7):
    return min(cpu_us(call, rounds) for call in calls)


def passes_us(record):
    """The passes over a record, from its bytes to its plain JSON text."""
    envelope = json.loads(record)
    text = envelope["databaseActivityEvents"]
    sealed = binascii.a2b_base64(text)
    header = parse(sealed)
    opened = open_message(sealed, unwrap(binascii.a2b_base64(envelope["key"])))
    payload = gunzip(opened.plaintext)
    us = {
        "base64": fastest(base64_decoders(text)),
        "AES-GCM": aes_us(len(sealed), header.frame_bytes),
        "HKDF": hkdf_us(header.suite.hash or SHA256()),
        "inflate": fastest(inflaters(opened.plaintext)),
        "copy": fastest([lambda: bytes(bytearray(payload))]),
    }
    if header.suite.curve:
        us["signature"] = signature_us(sealed)
    return us


def base64_decoders(text):
    return [
        functools.partial(binascii.a2b_base64, text),
        functools.partial(pybase64.b64decode, text, validate=True),
    ]


def base64_us(data):
    """Both base64 passes of Firehose: over the record, and over what is delivered for it."""
    return fastest([lambda: pybase64.b64encode_as_string(data)])


def inflaters(data):
    return [
        functools.partial(library.decompress, data, zlib.MAX_WBITS | 16)
        for library in (zlib, zlib_ng.zlib_ng, isal.isal_zlib)
    ]


def hkdf_us(hash):
    return fastest([lambda: HKDF(hash, 32, None, b"info").derive(bytes(32))])


@functools.cache
def aes_us(size, frame_bytes):
    """The message key, the header's tag, and each frame."""
    key, iv = AESGCM(bytes(32)), bytes(12)
    wrapped, tag = key.encrypt(iv, bytes(32), b""), key.encrypt(iv, b"", bytes(120))
    frames = [min(frame_bytes, size - start) for start in range(0, size, frame_bytes)]
    sealed = [key.encrypt(iv, bytes(length), b"") for length in frames]

    def all_of_it():
        AESGCM(bytes(32)).decrypt(iv, wrapped, b"")
        body = AESGCM(bytes(32))
        body.decrypt(iv, tag, bytes(120))
        for one in sealed:
            body.decrypt(iv, one, b"")

    return fastest([all_of_it])


def signature_us(signed):
    """Hash, point and P-384 by `cryptography` and by AWS-LC, which takes no compressed point."""
    curve, public = ec.SECP384R1(), PRIVATE.public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = PRIVATE.sign(signed, ec.ECDSA(SHA384()))

    def by_cryptography():
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        key.verify(signature, signed, ec.ECDSA(SHA384()))

    def by_awscrt():
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        key = EC.new_key_from_der_data(der)
        assert key.verify(hashlib.sha384(signed).digest(), signature)

    return fastest([by_cryptography, by_awscrt], rounds=3)
