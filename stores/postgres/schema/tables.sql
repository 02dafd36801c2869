-- CREATE SCHEMA IF NOT EXISTS would need the right to create one even where it exists.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {name}) THEN
    CREATE SCHEMA {schema};
  END IF;
END $$;

-- Names, ids, owners and records are bytea: no encoding, collation or NUL can change them.
CREATE TABLE IF NOT EXISTS {schema}.meta (version integer PRIMARY KEY);
INSERT INTO {schema}.meta VALUES (1) ON CONFLICT DO NOTHING;

CREATE {unlogged} TABLE IF NOT EXISTS {schema}.sessions (
  -- Messages refer to this key, which never comes back: what is left of an earlier session
  -- of the same name can never show up in a later one.
  session_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace bytea NOT NULL,
  session_id bytea NOT NULL,
  last_position bigint NOT NULL DEFAULT 0,
  context bytea,
  version bigint,
  write_id bytea,                    -- of the write that stored the context
  ttl_ms bigint,                     -- the session's own TTL; 0: for ever; NULL: the store's
  expires_at timestamptz,            -- NULL: for ever
  fence bigint NOT NULL DEFAULT 0,   -- the highest fencing token that has written
  UNIQUE (namespace, session_id)
);
CREATE INDEX IF NOT EXISTS sessions_expires_at ON {schema}.sessions (expires_at)
  WHERE expires_at IS NOT NULL;

CREATE {unlogged} TABLE IF NOT EXISTS {schema}.messages (
  session_key bigint NOT NULL REFERENCES {schema}.sessions ON DELETE CASCADE,
  position bigint NOT NULL,
  message_id bytea NOT NULL,
  stored_at timestamptz NOT NULL,
  record bytea NOT NULL,
  PRIMARY KEY (session_key, position),
  UNIQUE (session_key, message_id)
);

CREATE {unlogged} TABLE IF NOT EXISTS {schema}.locks (
  namespace bytea NOT NULL,
  session_id bytea NOT NULL,
  owner bytea,                       -- NULL: free
  token bigint NOT NULL,             -- the last one given out
  lease_until timestamptz NOT NULL,
  PRIMARY KEY (namespace, session_id)
);
CREATE INDEX IF NOT EXISTS locks_lease_until ON {schema}.locks (lease_until);
