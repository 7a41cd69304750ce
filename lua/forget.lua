-- Puts what a user holds under pseudonyms: same rank, same n, same time of the grant; another user, and another request key. Each
-- coupon at once in all three keys, so that they fit together for whoever looks next.
--
-- KEYS  meta, issued, count, request
-- ARGV  user, how many further n are looked for beside those up to the limit, these n,
--       then three per coupon: n, rank, pseudonym (one that is not held, or has another rank, is left alone)
-- Reply two per coupon that the user holds after it: n, rank
local META, ISSUED, COUNT, REQUEST = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local user, last = ARGV[1], 2 + tonumber(ARGV[2])
known_format(redis.call('HGET', META, 'format'))
if #ARGV > last then
  -- Rights that only this script needs, before the first write: half a change would cost a repair.
  redis.call('ZREM', ISSUED, '')
  redis.call('HDEL', REQUEST, '')
end
for i = last + 1, #ARGV, 3 do
  local pseudonym = ARGV[i + 2]
  local from, to = ARGV[i] .. ':' .. user, ARGV[i] .. ':' .. pseudonym
  local rank = redis.call('ZSCORE', ISSUED, from)
  if rank and tonumber(rank) == tonumber(ARGV[i + 1]) then
    redis.call('ZADD', ISSUED, rank, to)
    redis.call('ZREM', ISSUED, from)
    local request = redis.call('HGET', REQUEST, from)
    if request then
      redis.call('HSET', REQUEST, to, string.match(request, '^%d*') .. ':' .. pseudonym)
      redis.call('HDEL', REQUEST, from)
    end
    local left = (tonumber(redis.call('HGET', COUNT, user) or 0) or 0) - 1
    if left > 0 then redis.call('HSET', COUNT, user, left) else redis.call('HDEL', COUNT, user) end
    redis.call('HSET', COUNT, pseudonym, (tonumber(redis.call('HGET', COUNT, pseudonym) or 0) or 0) + 1)
  end
end

local held = {}
local function look(n)
  local rank = redis.call('ZSCORE', ISSUED, n .. ':' .. user)
  if rank then
    held[#held + 1] = tostring(n)
    held[#held + 1] = string.format('%.0f', rank)
  end
end
local limit = tonumber(redis.call('HGET', META, 'limit') or 0) or 0
for n = 1, limit do look(n) end
for i = 3, last do
  if tonumber(ARGV[i]) > limit then look(ARGV[i]) end
end
return held
