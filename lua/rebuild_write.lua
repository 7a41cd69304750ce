-- Step 2 of 3, once per chunk: writes winners and free ranks into the temporary keys.
--
-- KEYS  temporary meta, issued, count, request, free
-- ARGV  history captured before Redis was read, seconds the attempt may take, number of winners,
--       then five per winner: rank, n, user, granted ms, request key; the rest are free ranks, ascending
-- Reply OK, HISTORY or GONE (the attempt ran out of time)
if history() ~= ARGV[1] then return 'HISTORY' end
if redis.call('EXISTS', KEYS[1]) == 0 then return 'GONE' end
local winners = tonumber(ARGV[3])
local last = 3 + 5 * winners
for i = 4, last, 5 do
  local member = ARGV[i + 1] .. ':' .. ARGV[i + 2]
  redis.call('ZADD', KEYS[2], ARGV[i], member)
  redis.call('HINCRBY', KEYS[3], ARGV[i + 2], 1)
  redis.call('HSET', KEYS[4], member, ARGV[i + 3] .. ':' .. ARGV[i + 4])
end
for i = last + 1, #ARGV do redis.call('RPUSH', KEYS[5], ARGV[i]) end
for i = 1, 5 do redis.call('EXPIRE', KEYS[i], ARGV[2]) end
return 'OK'
