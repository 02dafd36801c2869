-- Returns ('held', token) or ('busy', milliseconds left).
CREATE OR REPLACE FUNCTION {schema}.acquire_v1(
  of_namespace bytea, of_session bytea, new_owner bytea, lease_ms bigint
) RETURNS TABLE (verdict text, number bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
DECLARE
  held {schema}.locks;
  written bigint;
  given bigint;
  looks_only boolean := true;
BEGIN
  -- A first look without locking the row: those who wait ask often, and should write nothing.
  SELECT * INTO held FROM {schema}.locks
    WHERE namespace = of_namespace AND session_id = of_session;
  LOOP
    IF held.lease_until > clock_timestamp() AND held.owner <> new_owner THEN
      RETURN QUERY SELECT 'busy',
        ceil(extract(epoch FROM held.lease_until - clock_timestamp()) * 1000)::bigint;
      RETURN;
    END IF;
    EXIT WHEN NOT looks_only;
    LOOP
      SELECT * INTO held FROM {schema}.locks
        WHERE namespace = of_namespace AND session_id = of_session FOR UPDATE;
      EXIT WHEN FOUND;
      INSERT INTO {schema}.locks (namespace, session_id, token, lease_until)
        VALUES (of_namespace, of_session, 0, clock_timestamp())
        ON CONFLICT (namespace, session_id) DO NOTHING;
    END LOOP;
    looks_only := false;
  END LOOP;
  IF held.lease_until > clock_timestamp() AND held.owner = new_owner THEN
    RETURN QUERY SELECT 'held', held.token;
    RETURN;
  END IF;

  -- The clock takes part so that tokens grow although the lock's row was lost or swept.
  SELECT fence INTO written FROM {schema}.sessions
    WHERE namespace = of_namespace AND session_id = of_session;
  given := greatest(
    held.token + 1, written + 1, {schema}.microseconds_v1(clock_timestamp())
  );
  UPDATE {schema}.locks
    SET owner = new_owner, token = given,
        lease_until = clock_timestamp() + lease_ms * interval '1 millisecond'
    WHERE namespace = of_namespace AND session_id = of_session;
  RETURN QUERY SELECT 'held', given;
END $$;

-- Returns whether it was still the owner's.
CREATE OR REPLACE FUNCTION {schema}.renew_v1(
  of_namespace bytea, of_session bytea, of_owner bytea, lease_ms bigint
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
BEGIN
  UPDATE {schema}.locks
    SET lease_until = clock_timestamp() + lease_ms * interval '1 millisecond'
    WHERE namespace = of_namespace AND session_id = of_session AND owner = of_owner
      AND lease_until > clock_timestamp();
  RETURN FOUND;
END $$;

-- Returns whether it was still the owner's.
CREATE OR REPLACE FUNCTION {schema}.release_v1(
  of_namespace bytea, of_session bytea, of_owner bytea
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
BEGIN
  -- The row stays, for its token.
  UPDATE {schema}.locks SET owner = NULL, lease_until = clock_timestamp()
    WHERE namespace = of_namespace AND session_id = of_session AND owner = of_owner
      AND lease_until > clock_timestamp();
  RETURN FOUND;
END $$;
