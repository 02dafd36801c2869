-- KEYS: session. ARGV: limit or ''. Returns {} or {context, version, first position, record, ...}.
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local context = redis.call('HMGET', KEYS[1], 'c', 'v')
return add_newest({context[1], context[2]}, KEYS[1], ARGV[1], '')
