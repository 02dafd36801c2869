-- KEYS: session, and its lock with a fence. ARGV: ttl in ms, fence or '', expected version or '', write id, record.
-- Returns {'fenced', token}, {'stale', version} or {'ok', version}.
local session, lock, ttl, fence, expected = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local later = later_token(session, lock, fence)
if later then return {'fenced', later} end

local stored = redis.call('HMGET', session, 'v', 'w')
local version = number(stored[1])
if stored[2] == ARGV[4] then return {'ok', integer(version)} end
if expected ~= '' and tonumber(expected) ~= version then return {'stale', integer(version)} end

-- The clock takes part so that a version never comes back, not even after data was lost.
local following = integer(math.max(version + 1, now_us()))
local fields = {'c', ARGV[5], 'v', following, 'w', ARGV[4]}
if fence ~= '' then fields[7], fields[8] = 'f', fence end
set_fields(session, fields)
slide(session, ttl)
return {'ok', following}
