-- Brings what the campaign's spec says into Redis.
--
-- KEYS  meta
-- ARGV  epoch, total, limit, start ms, end ms, suspended ('0' or '1'), number of this change
-- Reply {status, highest}: OK; CLOSED, HISTORY, EPOCH as in issue.lua; BELOW when total is lower than the highest rank given;
--       OLD when a change of this number or of a higher one is in force: this one was overtaken.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'history', 'highest', 'terms', 'format')
known_format(meta[5])
if not meta[1] then return { 'CLOSED', 0 } end
local highest = tonumber(meta[3])
if meta[2] ~= history() then return { 'HISTORY', highest } end
if meta[1] ~= ARGV[1] then return { 'EPOCH', highest } end
if tonumber(ARGV[2]) < highest then return { 'BELOW', highest } end
if tonumber(ARGV[7]) <= tonumber(meta[4] or 0) then return { 'OLD', highest } end
redis.call('HSET', KEYS[1], 'total', ARGV[2], 'limit', ARGV[3], 'start_ms', ARGV[4], 'end_ms', ARGV[5], 'suspended', ARGV[6],
  'terms', ARGV[7])
return { 'OK', highest }
