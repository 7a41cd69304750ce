-- Binds what is here to a new epoch and to this Redis' present history, without writing a winner: for a Redis whose identity
-- changed and that lost nothing (a first replica was attached, a replica that was in step was promoted).
--
-- KEYS  meta, issued, count, request, free
-- ARGV  history, epoch and highest rank captured before the winners were read, number of winners that were read,
--       new epoch, total, limit, start ms, end ms, suspended, number of these terms
-- Reply OK, HISTORY, or OTHER (the keys are not, or not any more, a whole ledger of these winners: fill Redis afresh)
local META, ISSUED, COUNT, REQUEST, FREE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if history() ~= ARGV[1] then return 'HISTORY' end
for key, kind in pairs({ [META] = 'hash', [ISSUED] = 'zset', [COUNT] = 'hash', [REQUEST] = 'hash', [FREE] = 'list' }) do
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then return 'OTHER' end
end
local meta = redis.call('HMGET', META, 'epoch', 'highest', 'format')
known_format(meta[3])
-- The identity alone does not tell that nothing changed: FLUSHALL keeps it, and so does a swap under another epoch.
if meta[1] ~= ARGV[2] or meta[2] ~= ARGV[3] or tonumber(meta[1]) >= tonumber(ARGV[5]) then return 'OTHER' end
local highest, winners = tonumber(ARGV[3]), tonumber(ARGV[4])
local issued, misfit = whole(ISSUED, COUNT, REQUEST, FREE, highest)
if misfit or issued ~= winners then return 'OTHER' end
redis.call('HSET', META, 'epoch', ARGV[5], 'history', ARGV[1], 'total', ARGV[6], 'limit', ARGV[7], 'start_ms', ARGV[8],
  'end_ms', ARGV[9], 'suspended', ARGV[10], 'terms', ARGV[11], 'format', FORMAT)
return 'OK'
