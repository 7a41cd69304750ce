-- Removes what no script can read: keys of another type than they should have, and a meta key whose numbers are none. The ledger
-- fills Redis afresh; called only behind a fence, while nobody grants.
--
-- KEYS  meta, issued, count, request, free
-- Reply names of the keys that were removed
if redis.call('TYPE', KEYS[1]).ok == 'hash' then known_format(redis.call('HGET', KEYS[1], 'format')) end
local removed = {}
local function remove(key)
  redis.call('UNLINK', key)
  removed[#removed + 1] = key
end
for i, kind in ipairs({ 'hash', 'zset', 'hash', 'hash', 'list' }) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= kind and found ~= 'none' then remove(KEYS[i]) end
end
if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  local numbers = redis.call('HMGET', KEYS[1], 'epoch', 'total', 'limit', 'start_ms', 'end_ms', 'terms', 'highest', 'last_ms')
  for i = 1, 8 do
    if numbers[i] and not tonumber(numbers[i]) then
      remove(KEYS[1])
      break
    end
  end
end
return removed
