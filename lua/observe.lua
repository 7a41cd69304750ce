-- Reads the state of a campaign; writes nothing.
--
-- KEYS  meta, issued, count, request, free
-- Reply {Redis' clock in ms, history of this Redis, issued, epoch, history in meta, total, limit, start ms, end ms, suspended, highest,
--       number of these terms, time of the latest grant in ms, what does not fit together (whole.lua)};
--       the fields from epoch on are empty when the campaign is closed (no meta). A key of another type counts as absent, and does not fit.
local function is(key, kind) return redis.call('TYPE', key).ok == kind end
local meta = is(KEYS[1], 'hash')
  and redis.call('HMGET', KEYS[1], 'epoch', 'history', 'total', 'limit', 'start_ms', 'end_ms', 'suspended', 'highest',
    'terms', 'last_ms', 'format') or {}
known_format(meta[11])
local issued = is(KEYS[2], 'zset') and redis.call('ZCARD', KEYS[2]) or 0
local misfit
if tonumber(meta[8]) then
  for i, kind in ipairs({ 'hash', 'zset', 'hash', 'hash', 'list' }) do
    local found = redis.call('TYPE', KEYS[i]).ok
    if found ~= kind and found ~= 'none' then misfit = KEYS[i] .. ' is a ' .. found .. ', not a ' .. kind end
  end
  if not misfit then
    local _, differs = whole(KEYS[2], KEYS[3], KEYS[4], KEYS[5], tonumber(meta[8]))
    misfit = differs
  end
end
local reply = { string.format('%.0f', now_ms()), history(), tostring(issued) }
for i = 1, 10 do reply[#reply + 1] = meta[i] or '' end
reply[#reply + 1] = misfit or ''
return reply
