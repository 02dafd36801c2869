-- KEYS: session. ARGV: ttl in ms. Returns 0 where there is no session.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 't', ARGV[1])
slide(KEYS[1], ARGV[1])
return 1
