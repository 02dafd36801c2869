-- KEYS: lock. ARGV: owner, lease in ms. Returns 1 if it was still the owner's.
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
