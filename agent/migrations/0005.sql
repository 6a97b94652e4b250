-- MCP servers that a user has added. What they are given in secret is sealed; the names of their
-- tools and what they answered are never stored.

CREATE TABLE mcps (
    user_id    BLOB    NOT NULL,
    name       TEXT    NOT NULL,
    -- JSON without secrets.
    config     TEXT    NOT NULL,
    -- Sealed JSON: values of environment variables or headers.
    secret     BLOB    NOT NULL,
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    -- How the server wants to be greeted, as it answered last; NULL while that is not known.
    lifecycle  TEXT    CHECK (lifecycle IN ('initialize', 'discover')),
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;
