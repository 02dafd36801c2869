-- KEYS: session, and its lock with a fence. ARGV: ttl in ms, fence or '', then id and record of each message.
-- Returns {'fenced', token}, {'partly'}, or {'ok', position, <stored_at>:<record>, ...}.
local session, lock, ttl = KEYS[1], KEYS[2], ARGV[1]
local later = later_token(session, lock, ARGV[2])
if later then return {'fenced', later} end

local count = (#ARGV - 2) / 2
local reply, known = {'ok'}, 0
for i = 1, count do
  local position = redis.call('HGET', session, 'i:' .. ARGV[2 * i + 1])
  if position then
    known = known + 1
    reply[#reply + 1] = position
    reply[#reply + 1] = redis.call('HGET', session, 'm:' .. position)
  end
end
if known == count then return reply end
if known > 0 then return {'partly'} end

local last = number(redis.call('HGET', session, 'n'))
local stored_at = integer(now_us()) .. ':'
local fields = {'n', integer(last + count)}
if ARGV[2] ~= '' then fields[3], fields[4] = 'f', ARGV[2] end
for i = 1, count do
  local position = integer(last + i)
  local value = stored_at .. ARGV[2 * i + 2]
  fields[#fields + 1] = 'i:' .. ARGV[2 * i + 1]
  fields[#fields + 1] = position
  fields[#fields + 1] = 'm:' .. position
  fields[#fields + 1] = value
  reply[#reply + 1] = position
  reply[#reply + 1] = value
end
set_fields(session, fields)
slide(session, ttl)
return reply
