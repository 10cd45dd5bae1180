"""Keys as on AWS: contexts, states, signatures."""

import pytest
from botocore.exceptions import ClientError
from contract_calls import fault

CONTEXT = {"aws:rds:dbc-id": "cluster-A"}


@pytest.fixture
def kms(endpoint):
    return endpoint.client("kms")


@pytest.fixture
def key(kms):
    return kms.create_key()["KeyMetadata"]["KeyId"]


@pytest.fixture
def wrapped(kms, key):
    """A data key under a context, as plaintext and as ciphertext."""
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)
    return made["Plaintext"], made["CiphertextBlob"]


class TestContext:
    def test_a_data_key_opens_under_its_context(self, kms, key, wrapped):
        plaintext, blob = wrapped
        opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
        assert len(plaintext) == 32
        assert opened["Plaintext"] == plaintext
        assert opened["KeyId"].endswith(f":key/{key}")

    @pytest.mark.parametrize(
        "wrong",
        [
            {},
            {"aws:rds:dbc-id": "cluster-B"},
            {"aws:rds:db-id": "cluster-A"},
            {"aws:rds:dbc-id": "cluster-A", "more": "x"},
            {"AWS:rds:dbc-id": "cluster-A"},
            {"aws:rds:dbc-i": "dcluster-A"},
            {"aws:rds:dbc-idcluster-A": ""},
        ],
    )
    def test_any_other_context_is_refused(self, kms, wrapped, wrong):
        _, blob = wrapped
        code = fault(kms.decrypt, CiphertextBlob=blob, EncryptionContext=wrong)
        assert code == "InvalidCiphertextException"

    def test_the_order_of_a_context_does_not_matter(self, kms, key):
        context = {"b": "2", "a": "1"}
        blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
        opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "1", "b": "2"})
        assert opened["Plaintext"] == b"x"

    def test_every_byte_of_a_ciphertext_is_protected(self, kms, wrapped):
        _, blob = wrapped
        for place in (40, 50, len(blob) - 1):
            altered = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
            code = fault(kms.decrypt, CiphertextBlob=altered, EncryptionContext=CONTEXT)
            assert code == "InvalidCiphertextException"
        assert fault(kms.decrypt, CiphertextBlob=b"x") == "InvalidCiphertextException"

    @pytest.mark.differs(endpoint="says `AccessDeniedException` for another key's ciphertext")
    def test_a_key_that_is_named_must_be_the_one(self, kms, wrapped):
        _, blob = wrapped
        other = kms.create_key()["KeyMetadata"]["KeyId"]
        code = fault(kms.decrypt, CiphertextBlob=blob, KeyId=other, EncryptionContext=CONTEXT)
        assert code == "IncorrectKeyException"


class TestStates:
    def calls(self, kms, key, blob):
        return (
            (kms.decrypt, {"CiphertextBlob": blob}),
            (kms.encrypt, {"KeyId": key, "Plaintext": b"x"}),
            (kms.generate_data_key, {"KeyId": key, "KeySpec": "AES_256"}),
            (kms.generate_data_key_without_plaintext, {"KeyId": key, "KeySpec": "AES_256"}),
            (kms.re_encrypt, {"CiphertextBlob": blob, "DestinationKeyId": key}),
        )

    @pytest.mark.parametrize("by", ["KeyId", "Arn"])
    def test_a_disabled_key_refuses_to_work_until_it_is_enabled(self, kms, by):
        made = kms.create_key()["KeyMetadata"]
        key = made[by]
        blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        kms.disable_key(KeyId=key)
        assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
        for call, arguments in self.calls(kms, key, blob):
            assert fault(call, **arguments) == "DisabledException"
        kms.enable_key(KeyId=key)
        assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"

    @pytest.mark.parametrize("by", ["KeyId", "Arn"])
    def test_a_key_to_be_deleted_refuses_to_work_until_that_is_cancelled(self, kms, by):
        made = kms.create_key()["KeyMetadata"]
        key = made[by]
        blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        for call, arguments in self.calls(kms, key, blob):
            assert fault(call, **arguments) == "KMSInvalidStateException"
        kms.cancel_key_deletion(KeyId=key)
        assert fault(kms.decrypt, CiphertextBlob=blob) == "DisabledException"
        kms.enable_key(KeyId=key)
        assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"

    def test_a_key_to_be_deleted_cannot_be_enabled(self, kms, key):
        kms.schedule_key_deletion(KeyId=key)
        assert fault(kms.enable_key, KeyId=key) == "KMSInvalidStateException"

    def test_an_unknown_key_is_not_found(self, kms):
        unknown = "00000000-0000-0000-0000-000000000000"
        assert fault(kms.describe_key, KeyId=unknown) == "NotFoundException"
        assert fault(kms.encrypt, KeyId=unknown, Plaintext=b"x") == "NotFoundException"
        assert fault(kms.disable_key, KeyId=unknown) == "NotFoundException"

    @pytest.mark.differs(endpoint="looks at no key policy, except for some that deny DescribeKey")
    def test_a_key_policy_is_obeyed(self, kms, key):
        deny = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",'
            ' "Action": "kms:Encrypt", "Resource": "*"}]}'
        )
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=deny)
        assert fault(kms.encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"


class TestSignatures:
    @pytest.mark.parametrize(
        ("spec", "algorithm"),
        [
            ("ECC_NIST_P256", "ECDSA_SHA_256"),
            ("ECC_NIST_P384", "ECDSA_SHA_384"),
            ("RSA_2048", "RSASSA_PSS_SHA_256"),
            ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512"),
        ],
    )
    def test_a_signature_holds_for_its_message_only(self, kms, spec, algorithm):
        key = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        how = {"KeyId": key, "SigningAlgorithm": algorithm}
        signature = kms.sign(**how, Message=b"message")["Signature"]
        assert kms.verify(**how, Message=b"message", Signature=signature)["SignatureValid"]
        code = fault(kms.verify, **how, Message=b"other", Signature=signature)
        assert code == "KMSInvalidSignatureException"
        kms.disable_key(KeyId=key)
        assert fault(kms.sign, **how, Message=b"message") == "DisabledException"

    def test_the_public_key_verifies_outside_of_kms(self, kms):
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        how = {"KeyId": made["KeyId"], "SigningAlgorithm": "ECDSA_SHA_256"}
        signature = kms.sign(**how, Message=b"message")["Signature"]
        public = kms.get_public_key(KeyId=made["KeyId"])["PublicKey"]
        serialization.load_der_public_key(public).verify(
            signature, b"message", ec.ECDSA(hashes.SHA256())
        )

    @pytest.mark.differs(endpoint="refuses to sign digests: `MessageType` is RAW only")
    def test_a_digest_is_signed_as_the_message_it_is_of(self, kms):
        from hashlib import sha256

        made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        how = {"KeyId": made["KeyId"], "SigningAlgorithm": "ECDSA_SHA_256"}
        digest = sha256(b"message").digest()
        signature = kms.sign(**how, Message=digest, MessageType="DIGEST")["Signature"]
        assert kms.verify(**how, Message=b"message", Signature=signature)["SignatureValid"]

    @pytest.mark.differs(endpoint="says `ValidationException` for a key of another use")
    def test_a_key_that_encrypts_does_not_sign(self, kms, key):
        how = {"KeyId": key, "SigningAlgorithm": "ECDSA_SHA_256"}
        assert fault(kms.sign, **how, Message=b"m") == "InvalidKeyUsageException"

    @pytest.mark.differs(endpoint="encrypts with a key that is for signatures")
    def test_a_key_that_signs_does_not_encrypt(self, kms):
        made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        with pytest.raises(ClientError, match="InvalidKeyUsageException"):
            kms.encrypt(KeyId=made["KeyId"], Plaintext=b"x")
