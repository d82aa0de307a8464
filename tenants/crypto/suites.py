"""The two suites that may seal a cell: AES-256-GCM with SHA-256, SM4-GCM (RFC 8998) with SM3.

The algorithms are implemented; this is not a certified commercial cryptographic product. SM2 is not used.
"""

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenants.errors import Tampered

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16


class Aes256Gcm:
    """AES-256-GCM under one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext and tag."""
        return self._cipher.encrypt(nonce, plaintext, aad)

    def decrypt(self, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """The plaintext; raises Tampered."""
        try:
            return self._cipher.decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise Tampered("the blob does not authenticate here") from None


class Sm4Gcm:
    """SM4-GCM under one key; the library has no one-shot class for it."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.SM4(key)

    def encrypt(self, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext and tag."""
        encryptor = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(aad)
        ciphertext = encryptor.update(plaintext) + encryptor.finalize()
        return ciphertext + encryptor.tag

    def decrypt(self, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
        """The plaintext; raises Tampered. The stream releases text before the tag is checked: it is not handed on."""
        if len(sealed) < TAG_BYTES:
            raise Tampered("the blob is cut short")
        tag = sealed[-TAG_BYTES:]
        decryptor = Cipher(self._algorithm, modes.GCM(nonce, tag, min_tag_length=TAG_BYTES)).decryptor()
        decryptor.authenticate_additional_data(aad)
        plaintext = decryptor.update(sealed[:-TAG_BYTES])
        try:
            return plaintext + decryptor.finalize()
        except InvalidTag:
            raise Tampered("the blob does not authenticate here") from None


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher and a hash that belong together; `code` is the algorithm byte of a blob."""

    name: str
    code: int
    key_bytes: int
    cipher: type[Aes256Gcm] | type[Sm4Gcm]
    hash: hashes.HashAlgorithm

    def mac(self, key: bytes, data: bytes) -> bytes:
        """HMAC with the suite's hash, 32 bytes."""
        if self.code == 1:
            return hmac.digest(key, data, "sha256")
        mac = HMAC(key, self.hash)
        mac.update(data)
        return mac.finalize()

    def derive(self, secret: bytes, info: bytes) -> bytes:
        """A key of this suite's length from a longer-lived secret (HKDF)."""
        return HKDF(algorithm=self.hash, length=self.key_bytes, salt=None, info=info).derive(secret)


SUITES: Final = {
    "aes256gcm": Suite("aes256gcm", 1, 32, Aes256Gcm, hashes.SHA256()),
    "sm4gcm": Suite("sm4gcm", 2, 16, Sm4Gcm, hashes.SM3()),
}
BY_CODE: Final = {suite.code: suite for suite in SUITES.values()}
