-- Brings what the campaign's spec says into Redis.
--
-- KEYS  meta
-- ARGV  epoch, total, limit, start ms, end ms, suspended ('0' or '1')
-- Reply {status, highest}: OK; CLOSED, HISTORY, EPOCH as in issue.lua; BELOW when total is lower than the highest rank given.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'history', 'highest')
if not meta[1] then return { 'CLOSED', 0 } end
local highest = tonumber(meta[3])
if meta[2] ~= history() then return { 'HISTORY', highest } end
if meta[1] ~= ARGV[1] then return { 'EPOCH', highest } end
if tonumber(ARGV[2]) < highest then return { 'BELOW', highest } end
redis.call('HSET', KEYS[1], 'total', ARGV[2], 'limit', ARGV[3], 'start_ms', ARGV[4], 'end_ms', ARGV[5], 'suspended', ARGV[6])
return { 'OK', highest }
