-- A store as version 1 writes it. Never edited: it stands for the stores that are out there.
PRAGMA application_id = 1296388936;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE cursors (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "cursors" VALUES('escrow',X'10');
CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY,
    key          TEXT    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL,
    payload      BLOB    NOT NULL,
    created      INTEGER NOT NULL, -- unix seconds
    acknowledged INTEGER           -- unix seconds; NULL while it must still happen
) STRICT;
INSERT INTO "outbox" VALUES(1,'post:01','PostTx',X'7061796C6F6164',1700000000,NULL);
INSERT INTO "outbox" VALUES(2,'send:02','SendDurably',X'',1700000000,1700000000);
CREATE TABLE rows (
    seq     INTEGER PRIMARY KEY,
    kind    TEXT    NOT NULL,
    id      BLOB    NOT NULL,
    version INTEGER NOT NULL,
    data    BLOB    NOT NULL,
    UNIQUE (kind, id)
) STRICT;
INSERT INTO "rows" VALUES(1,'deal',X'01',1,X'6F6E65');
INSERT INTO "rows" VALUES(2,'run',X'02',3,X'');
CREATE TABLE trace (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL, -- unix seconds
    kind    TEXT    NOT NULL,
    subject BLOB    NOT NULL, -- run or deal id
    data    BLOB    NOT NULL
) STRICT;
INSERT INTO "trace" VALUES(1,1700000001,'run.started',X'02',X'7B7D');
INSERT INTO "trace" VALUES(2,1700000002,'deal.signed',X'01',X'7B7D');
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
INSERT INTO "txs" VALUES(1,'post:01',7,X'02726177',X'0707070707070707070707070707070707070707070707070707070707070707',1700000000,NULL);
INSERT INTO "txs" VALUES(2,'post:00',6,X'026F6C64',X'0606060606060606060606060606060606060606060606060606060606060606',1700000000,1700000000);
CREATE INDEX outbox_open ON outbox (seq) WHERE acknowledged IS NULL;
CREATE INDEX trace_subject ON trace (subject, seq);
CREATE INDEX txs_open ON txs (nonce) WHERE done IS NULL;
COMMIT;
