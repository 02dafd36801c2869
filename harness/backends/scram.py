"""Postgres's form of a stored password, made here so that logging in costs little."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode

ITERATIONS = 1
"""Rounds that slow down whoever guesses a weak password, and every login by 2 ms.

Ours are random, 128 bits long: nobody guesses them in one round either. A cell logs in more
than a thousand times.
"""


def verifier(password: str) -> str:
    """Return what Postgres takes for a password that it has hashed already, for SCRAM logins.

    ``SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`` (Postgres docs, pg_authid;
    RFC 5802). The password must be plain ASCII, which SASLprep leaves as it is.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    client_key, server_key = (
        hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key")
    )
    stored_key = hashlib.sha256(client_key).digest()
    words = [b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${ITERATIONS}:{words[0]}${words[1]}:{words[2]}"
