-- Every row of a person carries the person's id, and every query names it.

CREATE TABLE sessions (
    user_id    BLOB    NOT NULL,
    id         TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    -- Number that the next event gets; never goes back, also not when the history is cleared.
    next_seq   INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE turns (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id     BLOB    NOT NULL,
    session_id  TEXT    NOT NULL,
    device      BLOB    NOT NULL,
    speaker     TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    created_ms  INTEGER NOT NULL,
    finished_ms INTEGER,
    FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX turns_unfinished ON turns (state) WHERE state IN ('queued', 'running');
CREATE INDEX turns_by_session ON turns (user_id, session_id);

CREATE TABLE messages (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       BLOB    NOT NULL,
    session_id    TEXT    NOT NULL,
    turn_id       INTEGER NOT NULL,
    device        BLOB    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('user', 'assistant')),
    text          TEXT    NOT NULL,
    attachments   TEXT    NOT NULL DEFAULT '[]',
    client_msg_id TEXT,
    created_ms    INTEGER NOT NULL,
    FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX messages_by_session ON messages (user_id, session_id, id);
CREATE INDEX messages_by_turn ON messages (turn_id);
CREATE UNIQUE INDEX messages_once ON messages (user_id, session_id, device, client_msg_id)
    WHERE client_msg_id IS NOT NULL;

CREATE TABLE events (
    user_id    BLOB    NOT NULL,
    session_id TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    turn_id    INTEGER,
    body       TEXT    NOT NULL,
    PRIMARY KEY (user_id, session_id, seq),
    FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE devices (
    node_id    BLOB    NOT NULL PRIMARY KEY,
    user_id    BLOB    NOT NULL,
    handle     TEXT    NOT NULL,
    role       TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    path       TEXT    NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_by_user ON devices (user_id);

CREATE TABLE root_chain (
    epoch INTEGER NOT NULL PRIMARY KEY,
    wire  BLOB    NOT NULL
) STRICT;

CREATE TABLE log_entries (
    root_epoch INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    wire       BLOB    NOT NULL,
    PRIMARY KEY (root_epoch, seq)
) STRICT;

-- Which entry says what about a key. `wire_seq` is null when only a snapshot said it.
CREATE TABLE revoked (
    node_id        BLOB    NOT NULL PRIMARY KEY,
    min_generation INTEGER NOT NULL,
    wire_epoch     INTEGER,
    wire_seq       INTEGER
) STRICT, WITHOUT ROWID;

-- The newest snapshot and the newest heartbeat.
CREATE TABLE trust_documents (
    kind       TEXT    NOT NULL PRIMARY KEY CHECK (kind IN ('snapshot', 'heartbeat')),
    root_epoch INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    time       INTEGER NOT NULL,
    wire       BLOB    NOT NULL
) STRICT;

-- The newest signed time that was seen.
CREATE TABLE trust_floor (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    time INTEGER NOT NULL
) STRICT;
