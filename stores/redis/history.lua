-- KEYS: session. ARGV: limit or '', before or ''. Returns {first position, record, ...}.
return add_newest({}, KEYS[1], ARGV[1], ARGV[2])
