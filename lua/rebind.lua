-- Binds what is here to a new epoch and to this Redis' present history, without writing a winner: for a Redis whose identity
-- changed and that lost nothing (a first replica was attached, a replica that was in step was promoted).
--
-- KEYS  meta, issued, count, request, free
-- ARGV  history captured before Redis was read, expected winners, highest rank among them,
--       epoch, total, limit, start ms, end ms, suspended
-- Reply OK, HISTORY, or OTHER (the keys are not, or not any more, a whole ledger of these winners: fill Redis afresh)
local META, ISSUED, COUNT, REQUEST, FREE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if history() ~= ARGV[1] then return 'HISTORY' end
for key, kind in pairs({ [META] = 'hash', [ISSUED] = 'zset', [COUNT] = 'hash', [REQUEST] = 'hash', [FREE] = 'list' }) do
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then return 'OTHER' end
end
local meta = redis.call('HMGET', META, 'epoch', 'highest')
local winners, highest = tonumber(ARGV[2]), tonumber(ARGV[3])
-- No meta: closed, by whom and why is not known. An epoch that is not older: somebody else is further than we are.
if not meta[1] or tonumber(meta[1]) >= tonumber(ARGV[4]) then return 'OTHER' end
if redis.call('ZCARD', ISSUED) ~= winners or redis.call('HLEN', REQUEST) ~= winners then return 'OTHER' end
if tonumber(meta[2]) < highest or redis.call('LLEN', FREE) ~= tonumber(meta[2]) - winners then return 'OTHER' end
redis.call('HSET', META, 'epoch', ARGV[4], 'history', ARGV[1], 'total', ARGV[5], 'limit', ARGV[6], 'start_ms', ARGV[7],
  'end_ms', ARGV[8], 'suspended', ARGV[9])
return 'OK'
