-- Providers and models are the agent's own, not a person's; what a session is pinned to is a person's.

CREATE TABLE providers (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    profile     TEXT    NOT NULL,
    base_url    TEXT    NOT NULL,
    -- Sealed with the key of the agent's folder and bound to the id.
    key_sealed  BLOB,
    -- As people see it.
    key_display TEXT    NOT NULL DEFAULT '',
    enabled     INTEGER NOT NULL DEFAULT 1,
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE models (
    id                TEXT    NOT NULL PRIMARY KEY,
    provider_id       TEXT    NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
    model             TEXT    NOT NULL,
    display_name      TEXT    NOT NULL DEFAULT '',
    context_tokens    INTEGER NOT NULL,
    max_output_tokens INTEGER NOT NULL,
    -- Millionths of a US dollar for a million tokens; all null when not known.
    price_input       INTEGER,
    price_cached      INTEGER,
    price_output      INTEGER,
    -- Place in the order of those that answer when the first choice fails; null is none.
    rank              INTEGER,
    is_default        INTEGER NOT NULL DEFAULT 0,
    enabled           INTEGER NOT NULL DEFAULT 1,
    created_ms        INTEGER NOT NULL,
    updated_ms        INTEGER NOT NULL,
    UNIQUE (provider_id, model)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX models_one_default ON models (is_default) WHERE is_default = 1;

CREATE TABLE session_models (
    user_id    BLOB NOT NULL,
    session_id TEXT NOT NULL,
    model_id   TEXT NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, session_id),
    FOREIGN KEY (user_id, session_id) REFERENCES sessions (user_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX session_models_by_model ON session_models (model_id);
