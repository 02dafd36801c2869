-- KEYS: session, and its lock with a fence. ARGV: fence or ''. Returns {'fenced', token} or {'ok', deleted keys}.
local later = later_token(KEYS[1], KEYS[2], ARGV[1])
if later then return {'fenced', later} end
return {'ok', redis.call('UNLINK', KEYS[1])}
