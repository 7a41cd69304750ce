-- Reads what the ledger says of some ranks, and under which epoch, in one call; writes nothing. Who publishes a grant again
-- stamps it with this epoch: one that was read at another moment could make an old grant tie with its successor.
--
-- KEYS  meta, issued, request
-- ARGV  ranks
-- Reply {status, epoch, issued}, {two per rank: member, '<granted ms>:<request key>'; empty when nobody holds it or the record is lost}
--       Status OK; CLOSED, HISTORY as in issue.lua.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'history', 'format')
known_format(meta[3])
if not meta[1] then return { { 'CLOSED' }, {} } end
if meta[2] ~= history() then return { { 'HISTORY' }, {} } end
local found = {}
for _, rank in ipairs(ARGV) do
  local member = redis.call('ZRANGEBYSCORE', KEYS[2], rank, rank, 'LIMIT', 0, 1)[1]
  found[#found + 1] = member or ''
  found[#found + 1] = member and redis.call('HGET', KEYS[3], member) or ''
end
return { { 'OK', meta[1], tostring(redis.call('ZCARD', KEYS[2])) }, found }
