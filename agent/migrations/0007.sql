-- What was said in a session until a turn, told shorter; the newest one counts.
CREATE TABLE summaries (
    user_id    BLOB    NOT NULL,
    session_id TEXT    NOT NULL,
    -- The last turn that it tells of.
    turn_id    INTEGER NOT NULL,
    text       TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, session_id),
    FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
