-- KEYS: lock. ARGV: owner. Returns 1 if it was still the owner's.
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 0 end
-- The token stays a while, so that two holders within one tick of the clock get different ones.
redis.call('HDEL', KEYS[1], 'o')
redis.call('PEXPIRE', KEYS[1], 1000)
return 1
