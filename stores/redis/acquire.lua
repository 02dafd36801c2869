-- KEYS: session, lock. ARGV: owner, lease in ms. Returns {'held', token} or {'busy', ms left}.
local session, lock = KEYS[1], KEYS[2]
local held = redis.call('HMGET', lock, 'o', 'k')
if held[1] == ARGV[1] then return {'held', held[2]} end
if held[1] then return {'busy', redis.call('PTTL', lock)} end

-- The clock takes part so that tokens grow although the lock's key was lost or ran out.
local written = number(redis.call('HGET', session, 'f'))
local token = integer(math.max(number(held[2]) + 1, written + 1, now_us()))
redis.call('HSET', lock, 'o', ARGV[1], 'k', token)
redis.call('PEXPIRE', lock, ARGV[2])
return {'held', token}
