-- Reads are STABLE: all their statements see the caller's one snapshot, under READ COMMITTED
-- too. They take a session as expired by now(), which is not later than the snapshot: a write
-- that kept the session alive in time is never missed.
-- Sequential scans are off so that no plan depends on statistics, which may be old or missing.

-- Returns nothing where there is no session; else the range asked for as (first position,
-- last position, NULL), then (position, stored_at, record) of each message in it.
CREATE OR REPLACE FUNCTION {schema}.history_v1(
  of_namespace bytea, of_session bytea, newest bigint, before_position bigint
) RETURNS TABLE (number bigint, moment bigint, stored bytea)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
DECLARE
  key_found bigint;
  first_asked bigint;
  last_asked bigint;
BEGIN
  SELECT session_key, last_position INTO key_found, last_asked FROM {schema}.sessions
    WHERE namespace = of_namespace AND session_id = of_session
      AND (expires_at IS NULL OR expires_at > now());
  IF NOT FOUND THEN
    RETURN;
  END IF;
  -- least() and greatest() ignore NULL: no limit, no end.
  last_asked := least(last_asked, before_position - 1);
  first_asked := greatest(1, last_asked - newest + 1);
  RETURN QUERY SELECT first_asked, last_asked, NULL::bytea;
  RETURN QUERY
    SELECT message.position, {schema}.microseconds_v1(message.stored_at), message.record
    FROM {schema}.messages AS message
    WHERE message.session_key = key_found
      AND message.position BETWEEN first_asked AND last_asked
    ORDER BY message.position;
END $$;

-- Returns nothing where there is no session; else (version, context).
CREATE OR REPLACE FUNCTION {schema}.context_v1(of_namespace bytea, of_session bytea)
RETURNS TABLE (number bigint, stored bytea)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY SELECT session.version, session.context FROM {schema}.sessions AS session
    WHERE session.namespace = of_namespace AND session.session_id = of_session
      AND (session.expires_at IS NULL OR session.expires_at > now());
END $$;

-- Returns nothing where there is no session; else (version, NULL, context), then the rows of
-- the history.
CREATE OR REPLACE FUNCTION {schema}.load_v1(of_namespace bytea, of_session bytea, newest bigint)
RETURNS TABLE (number bigint, moment bigint, stored bytea)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY SELECT found.number, NULL::bigint, found.stored
    FROM {schema}.context_v1(of_namespace, of_session) AS found;
  RETURN QUERY SELECT * FROM {schema}.history_v1(of_namespace, of_session, newest, NULL);
END $$;

-- Returns nothing where there is no session; else the milliseconds left, 0 for ever.
CREATE OR REPLACE FUNCTION {schema}.get_ttl_v1(of_namespace bytea, of_session bytea)
RETURNS TABLE (milliseconds bigint)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
    SELECT coalesce(ceil(extract(epoch FROM session.expires_at - now()) * 1000), 0)::bigint
    FROM {schema}.sessions AS session
    WHERE session.namespace = of_namespace AND session.session_id = of_session
      AND (session.expires_at IS NULL OR session.expires_at > now());
END $$;

-- Returns the next live session ids of the namespace, in the order of their bytes.
CREATE OR REPLACE FUNCTION {schema}.sessions_v1(
  of_namespace bytea, after_session bytea, at_most bigint
) RETURNS TABLE (found bytea)
LANGUAGE plpgsql STABLE SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY SELECT session.session_id FROM {schema}.sessions AS session
    WHERE session.namespace = of_namespace AND session.session_id > after_session
      AND (session.expires_at IS NULL OR session.expires_at > now())
    ORDER BY session.session_id LIMIT at_most;
END $$;
