"""What no decoder can leave out, each by the fastest library that is here.

base64, the three AES-GCM calls and HKDF, the signature, inflate, and a copy of the text. Nothing
of JSON is in it.
"""

import base64
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

from dastream.format.header import parse
from dastream.format.message import open_message
from dastream.format.payload import gunzip


def fastest_us(ways, inputs):
    """Least CPU of a pass over all inputs, by the fastest way, in microseconds an input."""
    best = float("inf")
    for _ in range(5):
        for way in ways:
            began = time.process_time_ns()
            for one in inputs:
                way(one)
            best = min(best, time.process_time_ns() - began)
    return best / 1000 / len(inputs)


def passes_us(records):
    """The passes over records, from their bytes to their plain JSON text, each in its time."""
    envelopes = [json.loads(record) for record in records]
    texts = [envelope["databaseActivityEvents"] for envelope in envelopes]
    sealed = [binascii.a2b_base64(text) for text in texts]
    keys = [unwrap(binascii.a2b_base64(envelope["key"])) for envelope in envelopes]
    opened = [open_message(*both).plaintext for both in zip(sealed, keys, strict=True)]
    suite = parse(sealed[0]).suite
    us = {
        "base64": fastest_us(base64_decoders(), texts),
        "AES-GCM": fastest_us([aes], [cipher_texts(len(one)) for one in sealed]),
        "HKDF": fastest_us(derivations(suite.hkdf), keys),
        "inflate": fastest_us(inflaters(), opened),
        "copy": fastest_us([lambda text: bytes(bytearray(text))], [gunzip(one) for one in opened]),
    }
    if suite.curve:
        us["signature"] = fastest_us(verifiers(), sealed[:10])
    return us


def derivations(hkdf):
    hash = {"sha256": SHA256(), "sha384": SHA384()}[hkdf.name]
    return [
        lambda key: HKDF(hash, 32, None, b"info").derive(key),
        lambda key: hkdf.derive(key, b"info", 32),
    ]


def base64_decoders():
    return [binascii.a2b_base64, functools.partial(pybase64.b64decode, validate=True)]


def base64_us(texts):
    """A base64 pass of Firehose, over records or over what is delivered for them."""
    return fastest_us([pybase64.b64encode_as_string, base64.b64encode], texts)


def inflaters():
    return [
        functools.partial(library.decompress, wbits=zlib.MAX_WBITS | 16)
        for library in (zlib, zlib_ng.zlib_ng, isal.isal_zlib)
    ]


KEY, IV, FRAME_BYTES = AESGCM(bytes(32)), bytes(12), 4096


def cipher_texts(size):
    """As many bytes in frames as a message has."""
    frames = [min(FRAME_BYTES, size - start) for start in range(0, size, FRAME_BYTES)]
    return [KEY.encrypt(IV, bytes(length), b"") for length in (32, 0, *frames)]


def aes(sealed):
    """The message key under the data key; the header's tag and the frames under another."""
    wrapped, *others = sealed
    AESGCM(bytes(32)).decrypt(IV, wrapped, b"")
    cipher = AESGCM(bytes(32))
    for one in others:
        cipher.decrypt(IV, one, b"")


def verifiers():
    """Hash, point and P-384 by `cryptography` and by AWS-LC, which takes no compressed point."""
    curve, private = ec.SECP384R1(), ec.generate_private_key(ec.SECP384R1())
    public = private.public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = private.sign(b"signed", ec.ECDSA(SHA384()))

    def by_cryptography(signed):
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        key.verify(signature, b"signed", ec.ECDSA(SHA384()))
        hashlib.sha384(signed)

    def by_awscrt(signed):
        key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        hashlib.sha384(signed)
        EC.new_key_from_der_data(der).verify(hashlib.sha384(b"signed").digest(), signature)

    return [by_cryptography, by_awscrt]
