-- KEYS: lock. ARGV: owner, lease in ms. Returns 1 if it was still the owner's.
if not holds(KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'e', lease_end(ARGV[2]))
keep_lock(KEYS[1], ARGV[2])
return 1
