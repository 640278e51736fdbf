"""How do two peers that know each other get a TLS channel without certificates anybody has to manage?

The server makes a key and a self-signed certificate when it starts; the peer learns its fingerprint over the link, which
is authenticated, and accepts that certificate only. Nothing of it outlives the process.
"""

import datetime
import hashlib
import hmac
import os
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["client_context", "is_announced", "server_context"]

_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mesh")])


def server_context() -> tuple[ssl.SSLContext, bytes]:
    """A TLS 1.3 context with a fresh key, and the SHA-256 fingerprint of its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load(context, key, certificate)
    return context, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def _load(context: ssl.SSLContext, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """The standard library takes keys from files only: one that nobody else can read, for a moment."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    descriptor, name = tempfile.mkstemp(prefix="mesh-tls-")
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(name)
    finally:
        os.close(descriptor)
        Path(name).unlink()


def client_context() -> ssl.SSLContext:
    """A TLS 1.3 context that takes any certificate: compare its fingerprint before anything is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def is_announced(certificate: bytes, expected: bytes) -> bool:
    """Whether a DER certificate is the one announced."""
    return hmac.compare_digest(hashlib.sha256(certificate).digest(), expected)
