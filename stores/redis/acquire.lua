-- KEYS: session, lock. ARGV: owner, lease in ms. Returns {'held', token} or {'busy', ms left}.
local session, lock = KEYS[1], KEYS[2]
local held = redis.call('HMGET', lock, 'o', 'k', 'e')
local now = now_us()
local left = number(held[3]) - now
if held[1] and left > 0 then
  if held[1] == ARGV[1] then return {'held', held[2]} end
  -- A write that changes nothing: a replica, which may not know yet that the lock is free, refuses.
  redis.call('HDEL', lock, '')
  return {'busy', integer(math.ceil(left / 1000))}
end

-- The clock takes part so that tokens grow although the lock's key was lost or ran out.
local written = number(redis.call('HGET', session, 'f'))
local token = integer(math.max(number(held[2]) + 1, written + 1, now))
redis.call('HSET', lock, 'o', ARGV[1], 'k', token, 'e', lease_end(ARGV[2]))
keep_lock(lock, ARGV[2])
return {'held', token}
