-- What lies in a node's store? Version 1. Every later version is this plus the steps in migrations.py.

-- The machines of the core (deals, runs, nonces, receipts), each replaced whole. `version` is that of the encoding of
-- `data`; the store never reads either.
CREATE TABLE rows (
    seq     INTEGER PRIMARY KEY,
    kind    TEXT    NOT NULL,
    id      BLOB    NOT NULL,
    version INTEGER NOT NULL,
    data    BLOB    NOT NULL,
    UNIQUE (kind, id)
) STRICT;

-- Effects that must happen even if the process dies now. Acknowledged ones stay for a while, without payload.
CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY,
    key          TEXT    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL,
    payload      BLOB    NOT NULL,
    created      INTEGER NOT NULL, -- unix seconds
    acknowledged INTEGER           -- unix seconds; NULL while it must still happen
) STRICT;
CREATE INDEX outbox_open ON outbox (seq) WHERE acknowledged IS NULL;

-- What happened, for people; the oldest entries go first.
CREATE TABLE trace (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL, -- unix seconds
    kind    TEXT    NOT NULL,
    subject BLOB    NOT NULL, -- run or deal id
    data    BLOB    NOT NULL
) STRICT;
CREATE INDEX trace_subject ON trace (subject, seq);

-- Signed transactions, each on disk before it is sent. A replacement with a higher fee is a second row of the same key.
CREATE TABLE txs (
    seq     INTEGER PRIMARY KEY,
    key     TEXT    NOT NULL,
    nonce   INTEGER NOT NULL,
    raw     BLOB    NOT NULL,
    hash    BLOB    NOT NULL,
    created INTEGER NOT NULL, -- unix seconds
    done    INTEGER,          -- unix seconds; NULL until the nonce is used for good
    UNIQUE (key, hash)
) STRICT;
CREATE INDEX txs_open ON txs (nonce) WHERE done IS NULL;

-- How far a follower has read.
CREATE TABLE cursors (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
