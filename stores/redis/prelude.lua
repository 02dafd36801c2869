-- Shared by every script. A session is one hash:
--   n         the last position given out
--   m:<pos>   <stored_at in us>:<record>
--   i:<id>    the position of the message with this id
--   c, v, w   the context's record, its version, and the id of the write that stored it
--   t         the session's own TTL in ms (0: for ever), where set_ttl gave it one
--   f         the highest fencing token that has written
-- Its lock is a second hash in the same slot:
--   o, e      the owner, and the lease's end in us
--   k         the last token given out: the key outlives the lease for it, see keep_lock
-- Numbers are formatted with %.0f, because tostring keeps only 14 digits.

local function number(text) return tonumber(text or '0') or 0 end

local function integer(value) return string.format('%.0f', value) end

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- The token that refuses this write, or nil.
local function later_token(session, lock, fence)
  if fence == '' then return nil end
  local given = number(redis.call('HGET', lock, 'k'))
  local written = number(redis.call('HGET', session, 'f'))
  local latest = math.max(given, written)
  if latest > tonumber(fence) then return integer(latest) end
end

local function lease_end(lease) return integer(now_us() + tonumber(lease) * 1000) end

local function holds(lock, owner)
  local held = redis.call('HMGET', lock, 'o', 'e')
  return held[1] == owner and number(held[2]) > now_us()
end

-- Keep the lock's key for an hour after the lease: fencing is for writers that come late.
local function keep_lock(lock, lease)
  redis.call('PEXPIRE', lock, integer(tonumber(lease) + 3600000))
end

-- Start the TTL anew: the session's own where it has one, else the store's.
local function slide(session, ttl)
  local own = redis.call('HGET', session, 't')
  if own then ttl = own end
  if ttl == '0' then redis.call('PERSIST', session) else redis.call('PEXPIRE', session, ttl) end
end

-- Set many fields, a bounded number at once: Lua's stack holds 8000 values.
local function set_fields(key, fields)
  for first = 1, #fields, 4000 do
    redis.call('HSET', key, unpack(fields, first, math.min(first + 3999, #fields)))
  end
end

-- Put the newest `limit` messages before a position behind the reply: first position, records.
local function add_newest(reply, session, limit, before)
  local last = number(redis.call('HGET', session, 'n'))
  if before ~= '' then last = math.min(last, tonumber(before) - 1) end
  local first = 1
  if limit ~= '' then first = math.max(1, last - tonumber(limit) + 1) end
  reply[#reply + 1] = integer(first)
  for start = first, last, 1000 do
    local names = {}
    for position = start, math.min(start + 999, last) do
      names[#names + 1] = 'm:' .. integer(position)
    end
    local values = redis.call('HMGET', session, unpack(names))
    for i = 1, #names do reply[#reply + 1] = values[i] end
  end
  return reply
end
