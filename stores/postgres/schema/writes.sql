-- Every write locks the session's row first, and reads the clock after that: while it waited,
-- the session may have expired. Fenced writes lock the row of the session's lock before that.

-- Microseconds since 1970, NULL for infinity. STABLE as extract() is, or it is not inlined.
CREATE OR REPLACE FUNCTION {schema}.microseconds_v1(moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN isfinite(moment) THEN (extract(epoch FROM moment) * 1000000)::bigint END
$$;

-- When a session that is written now will expire: by its own TTL, else by the store's.
CREATE OR REPLACE FUNCTION {schema}.expiry_v1(own_ttl_ms bigint, ttl_ms bigint)
RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN coalesce(own_ttl_ms, ttl_ms) > 0
    THEN clock_timestamp() + coalesce(own_ttl_ms, ttl_ms) * interval '1 millisecond' END
$$;

-- Lock and return the row of a session that lives; all is NULL where there is none.
CREATE OR REPLACE FUNCTION {schema}.hold_v1(of_namespace bytea, of_session bytea)
RETURNS {schema}.sessions
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  held {schema}.sessions;
BEGIN
  SELECT * INTO held FROM {schema}.sessions
    WHERE namespace = of_namespace AND session_id = of_session FOR UPDATE;
  IF held.expires_at <= clock_timestamp() THEN
    RETURN NULL;
  END IF;
  RETURN held;
END $$;

-- Start a session anew where none lives. All is NULL if somebody else was faster.
CREATE OR REPLACE FUNCTION {schema}.start_v1(of_namespace bytea, of_session bytea)
RETURNS {schema}.sessions
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  started {schema}.sessions;
BEGIN
  DELETE FROM {schema}.sessions WHERE namespace = of_namespace AND session_id = of_session
    AND expires_at <= clock_timestamp();
  INSERT INTO {schema}.sessions (namespace, session_id) VALUES (of_namespace, of_session)
    ON CONFLICT (namespace, session_id) DO NOTHING RETURNING * INTO started;
  RETURN started;
END $$;

-- Keep `acquire` out until this write is committed; return the last token given out.
CREATE OR REPLACE FUNCTION {schema}.given_token_v1(
  of_namespace bytea, of_session bytea, with_fence bigint
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  given bigint;
BEGIN
  LOOP
    SELECT token INTO given FROM {schema}.locks
      WHERE namespace = of_namespace AND session_id = of_session FOR UPDATE;
    EXIT WHEN FOUND;
    INSERT INTO {schema}.locks (namespace, session_id, token, lease_until)
      VALUES (of_namespace, of_session, with_fence, clock_timestamp())
      ON CONFLICT (namespace, session_id) DO NOTHING;
  END LOOP;
  IF given < with_fence THEN
    -- The row was lost or swept since the token was given out.
    UPDATE {schema}.locks SET token = with_fence
      WHERE namespace = of_namespace AND session_id = of_session;
  END IF;
  RETURN given;
END $$;

-- Returns ('fenced', token), ('partly'), ('stored', first position, stored_at), or for a batch
-- that was stored before one ('known', position, stored_at, record) each, in batch order.
CREATE OR REPLACE FUNCTION {schema}.append_v1(
  of_namespace bytea, of_session bytea, ids bytea[], records bytea[], with_ttl_ms bigint,
  with_fence bigint
) RETURNS TABLE (verdict text, number bigint, moment bigint, stored bytea)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  given bigint := 0;
  held {schema}.sessions;
  now_locked timestamptz;
  added bigint;
BEGIN
  IF with_fence IS NOT NULL THEN
    given := {schema}.given_token_v1(of_namespace, of_session, with_fence);
  END IF;
  LOOP
    held := {schema}.hold_v1(of_namespace, of_session);
    IF greatest(given, held.fence) > with_fence THEN
      RETURN QUERY SELECT 'fenced', greatest(given, held.fence), NULL::bigint, NULL::bytea;
      RETURN;
    END IF;
    EXIT WHEN held.session_key IS NOT NULL;
    held := {schema}.start_v1(of_namespace, of_session);
    EXIT WHEN held.session_key IS NOT NULL;
  END LOOP;

  now_locked := clock_timestamp();
  -- A conflict asks the index of ids directly. A query would leave the choice of the index to
  -- the planner, who may read the whole session where most sessions are short.
  INSERT INTO {schema}.messages (session_key, position, message_id, stored_at, record)
    SELECT held.session_key, held.last_position + entry.place, entry.id, now_locked, entry.record
    FROM unnest(ids, records) WITH ORDINALITY AS entry (id, record, place)
    ORDER BY entry.place
    ON CONFLICT (session_key, message_id) DO NOTHING;
  GET DIAGNOSTICS added = ROW_COUNT;

  IF added = cardinality(ids) THEN
    UPDATE {schema}.sessions
      SET last_position = held.last_position + added,
          fence = coalesce(with_fence, held.fence),
          expires_at = {schema}.expiry_v1(held.ttl_ms, with_ttl_ms)
      WHERE session_key = held.session_key;
    RETURN QUERY SELECT 'stored', held.last_position + 1,
      {schema}.microseconds_v1(now_locked), NULL::bytea;
  ELSIF added > 0 THEN
    DELETE FROM {schema}.messages
      WHERE session_key = held.session_key AND position > held.last_position;
    RETURN QUERY SELECT 'partly', NULL::bigint, NULL::bigint, NULL::bytea;
  ELSE
    -- Read by way of the same conflict, row by row in batch order; nothing changes.
    RETURN QUERY
      INSERT INTO {schema}.messages AS message
          (session_key, position, message_id, stored_at, record)
        SELECT held.session_key, 0, entry.id, now_locked, ''
        FROM unnest(ids) WITH ORDINALITY AS entry (id, place) ORDER BY entry.place
        ON CONFLICT (session_key, message_id) DO UPDATE SET message_id = EXCLUDED.message_id
        RETURNING 'known', message.position, {schema}.microseconds_v1(message.stored_at),
          message.record;
  END IF;
END $$;

-- Returns ('fenced', token), ('stale', version) or ('ok', version).
CREATE OR REPLACE FUNCTION {schema}.save_v1(
  of_namespace bytea, of_session bytea, new_context bytea, expected bigint, new_write_id bytea,
  with_ttl_ms bigint, with_fence bigint
) RETURNS TABLE (verdict text, number bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  given bigint := 0;
  held {schema}.sessions;
  stored bigint;
  following bigint;
BEGIN
  IF with_fence IS NOT NULL THEN
    given := {schema}.given_token_v1(of_namespace, of_session, with_fence);
  END IF;
  LOOP
    held := {schema}.hold_v1(of_namespace, of_session);
    stored := coalesce(held.version, 0);
    IF greatest(given, held.fence) > with_fence THEN
      RETURN QUERY SELECT 'fenced', greatest(given, held.fence);
      RETURN;
    ELSIF held.write_id = new_write_id THEN
      RETURN QUERY SELECT 'ok', stored;
      RETURN;
    ELSIF expected <> stored THEN
      RETURN QUERY SELECT 'stale', stored;
      RETURN;
    END IF;
    EXIT WHEN held.session_key IS NOT NULL;
    held := {schema}.start_v1(of_namespace, of_session);
    EXIT WHEN held.session_key IS NOT NULL;
  END LOOP;

  -- The clock takes part so that a version never comes back, not even after data was lost.
  following := greatest(stored + 1, {schema}.microseconds_v1(clock_timestamp()));
  UPDATE {schema}.sessions
    SET context = new_context, version = following, write_id = new_write_id,
        fence = coalesce(with_fence, held.fence),
        expires_at = {schema}.expiry_v1(held.ttl_ms, with_ttl_ms)
    WHERE session_key = held.session_key;
  RETURN QUERY SELECT 'ok', following;
END $$;

-- Returns ('fenced', token), or ('ok', 1 if there was a session, else 0).
CREATE OR REPLACE FUNCTION {schema}.delete_v1(
  of_namespace bytea, of_session bytea, with_fence bigint
) RETURNS TABLE (verdict text, number bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  given bigint := 0;
  held {schema}.sessions;
BEGIN
  IF with_fence IS NOT NULL THEN
    given := {schema}.given_token_v1(of_namespace, of_session, with_fence);
  END IF;
  held := {schema}.hold_v1(of_namespace, of_session);
  IF greatest(given, held.fence) > with_fence THEN
    RETURN QUERY SELECT 'fenced', greatest(given, held.fence);
    RETURN;
  END IF;
  DELETE FROM {schema}.sessions WHERE session_key = held.session_key;
  RETURN QUERY SELECT 'ok', CASE WHEN FOUND THEN 1::bigint ELSE 0::bigint END;
END $$;

-- Returns whether there was a session.
CREATE OR REPLACE FUNCTION {schema}.set_ttl_v1(
  of_namespace bytea, of_session bytea, own_ttl_ms bigint
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  held {schema}.sessions := {schema}.hold_v1(of_namespace, of_session);
BEGIN
  UPDATE {schema}.sessions
    SET ttl_ms = own_ttl_ms, expires_at = {schema}.expiry_v1(own_ttl_ms, own_ttl_ms)
    WHERE session_key = held.session_key;
  RETURN FOUND;
END $$;
