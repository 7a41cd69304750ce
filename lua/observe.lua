-- Reads the state of a campaign; writes nothing.
--
-- KEYS  meta, issued
-- Reply {Redis' clock in ms, history of this Redis, issued, epoch, history in meta, total, limit, start ms, end ms, suspended, highest,
--       number of these terms, time of the latest grant in ms};
--       the fields from epoch on are empty when the campaign is closed (no meta). A key of another type counts as absent.
local function is(key, kind) return redis.call('TYPE', key).ok == kind end
local meta = is(KEYS[1], 'hash')
  and redis.call('HMGET', KEYS[1], 'epoch', 'history', 'total', 'limit', 'start_ms', 'end_ms', 'suspended', 'highest',
    'terms', 'last_ms') or {}
local issued = is(KEYS[2], 'zset') and redis.call('ZCARD', KEYS[2]) or 0
local reply = { string.format('%.0f', now_ms()), history(), tostring(issued) }
for i = 1, 10 do reply[#reply + 1] = meta[i] or '' end
return reply
