"""How do two peers that know each other get a TLS channel without certificates anybody has to manage?

The server makes a key and a self-signed certificate when it starts, with libp2p's extension that binds it to the PeerId;
the peer learns its fingerprint over the link, which is authenticated, and accepts that certificate only. Nothing of it
outlives the process.
"""

import hashlib
import hmac
import os
import ssl
import tempfile
from pathlib import Path

from libp2p.crypto.keys import PrivateKey
from libp2p.security.tls.certificate import create_cert_template, generate_certificate

__all__ = ["client_context", "is_announced", "server_context"]


def server_context(identity: PrivateKey) -> tuple[ssl.SSLContext, bytes]:
    """A TLS 1.3 context with a fresh key, and the SHA-256 fingerprint of its certificate, signed by the node's key."""
    certificate, key = generate_certificate(identity, create_cert_template())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # The standard library takes keys from files only: one that nobody else can read, for a moment.
    descriptor, name = tempfile.mkstemp(prefix="mesh-tls-")
    try:
        os.write(descriptor, (key + certificate).encode())
        context.load_cert_chain(name)
    finally:
        os.close(descriptor)
        Path(name).unlink()
    return context, hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest()


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
