-- A turn that waits for a person outlives the process: its machine as JSON, null while it need not.
ALTER TABLE turns ADD COLUMN checkpoint TEXT;

CREATE TABLE approvals (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id         BLOB    NOT NULL,
    session_id      TEXT    NOT NULL,
    turn_id         INTEGER NOT NULL,
    -- The model's own id of the call, unique within its round only.
    call_id         TEXT    NOT NULL,
    -- In whose name the turn runs.
    device          BLOB    NOT NULL,
    handle          TEXT    NOT NULL,
    tool            TEXT    NOT NULL,
    summary         TEXT    NOT NULL,
    -- Canonical JSON, and what it is bound to beside the arguments: program, its hash, folder.
    arguments       TEXT    NOT NULL,
    bound           TEXT    NOT NULL,
    hash            BLOB    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'used')),
    reason          TEXT    NOT NULL DEFAULT '',
    answered_device BLOB,
    answered_handle TEXT,
    answered_ms     INTEGER,
    created_ms      INTEGER NOT NULL,
    expires_ms      INTEGER NOT NULL,
    used_ms         INTEGER,
    FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX approvals_by_user ON approvals (user_id, id);
CREATE INDEX approvals_open ON approvals (turn_id) WHERE state IN ('pending', 'approved');
