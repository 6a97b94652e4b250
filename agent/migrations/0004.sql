-- What calls of models used, summed up per UTC day and everything that a person may ask by.
CREATE TABLE usage (
    day            INTEGER NOT NULL, -- days since 1970-01-01, UTC
    user_id        BLOB    NOT NULL,
    device         BLOB    NOT NULL,
    session_id     TEXT    NOT NULL,
    model          TEXT    NOT NULL,
    calls          INTEGER NOT NULL,
    unpriced_calls INTEGER NOT NULL, -- their cost is not known and not in cost_micro_usd
    input_tokens   INTEGER NOT NULL,
    cached_tokens  INTEGER NOT NULL,
    output_tokens  INTEGER NOT NULL,
    cost_micro_usd INTEGER NOT NULL,
    PRIMARY KEY (day, user_id, device, session_id, model)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_by_session ON usage (user_id, session_id);

-- What calls under way may cost at most. Counts as spent until the call is settled.
CREATE TABLE reservations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    day        INTEGER NOT NULL,
    user_id    BLOB    NOT NULL,
    device     BLOB    NOT NULL,
    session_id TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    micro_usd  INTEGER NOT NULL,
    tokens     INTEGER NOT NULL
) STRICT;
