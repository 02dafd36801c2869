-- Delete one batch of expired sessions of all namespaces; return how many. Stops early at
-- many messages, so that nobody who starts such a session anew waits long for its row.
CREATE OR REPLACE FUNCTION {schema}.sweep_sessions_v1(at_most bigint, messages_at_most bigint)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  swept bigint;
BEGIN
  WITH expired AS MATERIALIZED (
    SELECT session_key, last_position FROM {schema}.sessions
    WHERE expires_at <= now()
    ORDER BY expires_at LIMIT at_most FOR UPDATE SKIP LOCKED
  ), batch AS (
    SELECT session_key, sum(last_position) OVER (ORDER BY session_key) - last_position AS earlier
    FROM expired
  )
  DELETE FROM {schema}.sessions AS session USING batch
    WHERE session.session_key = batch.session_key AND batch.earlier < messages_at_most;
  GET DIAGNOSTICS swept = ROW_COUNT;
  RETURN swept;
END $$;

-- Delete one batch of locks that nobody has held for an hour; return how many. Later tokens
-- grow nevertheless: the clock takes part in them.
CREATE OR REPLACE FUNCTION {schema}.sweep_locks_v1(at_most bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  swept bigint;
BEGIN
  WITH ended AS MATERIALIZED (
    SELECT namespace, session_id FROM {schema}.locks
    WHERE lease_until <= now() - interval '1 hour'
    ORDER BY lease_until LIMIT at_most FOR UPDATE SKIP LOCKED
  )
  DELETE FROM {schema}.locks AS lock USING ended
    WHERE lock.namespace = ended.namespace AND lock.session_id = ended.session_id;
  GET DIAGNOSTICS swept = ROW_COUNT;
  RETURN swept;
END $$;
