-- The facts of one network, apart from keys (those are files) and the audit log (a file too).
-- Times are Unix seconds. Ids are raw bytes.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE roots (
    epoch INTEGER PRIMARY KEY,
    wire  BLOB NOT NULL
) STRICT;

CREATE TABLE users (
    user_id    BLOB PRIMARY KEY CHECK (length(user_id) = 16),
    handle     TEXT NOT NULL UNIQUE,
    status     TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    node_id     BLOB PRIMARY KEY CHECK (length(node_id) = 32),
    name        TEXT NOT NULL UNIQUE,
    user_id     BLOB NOT NULL REFERENCES users (user_id),
    role        TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'active', 'revoked')),
    generation  INTEGER,
    serial      BLOB,
    not_after   INTEGER,
    enrolled_at INTEGER NOT NULL,
    invited_by  BLOB,
    platform    TEXT,
    last_seen   INTEGER,
    -- Days before expiry of the last warning about the newest certificate.
    warned      INTEGER
) STRICT;
CREATE INDEX devices_by_user ON devices (user_id);
CREATE INDEX devices_by_inviter ON devices (invited_by);

CREATE TABLE agents (
    node_id    BLOB PRIMARY KEY REFERENCES devices (node_id) ON DELETE CASCADE,
    reach      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE invitations (
    id          BLOB PRIMARY KEY CHECK (length(id) = 8),
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    name        TEXT,
    role        TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    user_id     BLOB NOT NULL REFERENCES users (user_id),
    -- NULL: the owner, on the coordinator's host.
    inviter     BLOB REFERENCES devices (node_id),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    approval    INTEGER NOT NULL,
    used_at     INTEGER,
    used_by     BLOB,
    wrong_tries INTEGER NOT NULL DEFAULT 0,
    burned_at   INTEGER,
    voided_at   INTEGER,
    denied_at   INTEGER
) STRICT;
CREATE INDEX invitations_by_inviter ON invitations (inviter);

CREATE TABLE pending (
    node_id      BLOB PRIMARY KEY REFERENCES devices (node_id) ON DELETE CASCADE,
    invite_id    BLOB NOT NULL REFERENCES invitations (id),
    since        INTEGER NOT NULL,
    from_address TEXT,
    tries        INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE log (
    seq   INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    wire  BLOB NOT NULL,
    hash  BLOB NOT NULL,
    time  INTEGER NOT NULL
) STRICT;

-- Snapshots that were imported after a restore: the log continues behind the newest.
CREATE TABLE imported (
    seq   INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    wire  BLOB NOT NULL,
    hash  BLOB NOT NULL,
    time  INTEGER NOT NULL
) STRICT;

CREATE TABLE revocations (
    node_id        BLOB PRIMARY KEY CHECK (length(node_id) = 32),
    min_generation INTEGER NOT NULL,
    reason         INTEGER NOT NULL,
    seq            INTEGER NOT NULL
) STRICT;

CREATE TABLE notices (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL,
    -- NULL: for every user.
    user_id BLOB,
    kind    TEXT NOT NULL,
    text    TEXT NOT NULL
) STRICT;
