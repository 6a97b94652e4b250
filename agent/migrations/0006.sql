-- Sessions that a program asked for and that end with one answer.
CREATE TABLE sessions_once (
    user_id    BLOB    NOT NULL,
    session_id TEXT    NOT NULL,
    PRIMARY KEY (user_id, session_id),
    FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Answers to writes that carried a key, so that the same write sent again changes nothing.
CREATE TABLE idempotent_answers (
    device       BLOB    NOT NULL,
    method       TEXT    NOT NULL,
    path         TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    -- SHA-256 of the request.
    fingerprint  BLOB    NOT NULL,
    -- Bytes of its body that were read and are in the fingerprint; null for all.
    prefix       INTEGER,
    created_ms   INTEGER NOT NULL,
    -- Null while the first request runs.
    status       INTEGER,
    content_type TEXT,
    body         BLOB,
    PRIMARY KEY (device, method, path, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotent_answers_by_age ON idempotent_answers (created_ms);
