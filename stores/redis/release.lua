-- KEYS: lock. ARGV: owner. Returns 1 if it was still the owner's.
if not holds(KEYS[1], ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], 'o', 'e')
keep_lock(KEYS[1], '0')
return 1
