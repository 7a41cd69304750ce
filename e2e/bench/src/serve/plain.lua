-- A plain design: one call for each request.
-- KEYS  winners (sorted set), coupons of each user (hash), coupons in all (number)
-- ARGV  user, coupons there are, coupons a user may hold
-- Reply code, rank
local mine = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
if mine >= tonumber(ARGV[3]) then return { 'ALREADY_ISSUED', 0 } end
local rank = redis.call('INCR', KEYS[3])
if rank > tonumber(ARGV[2]) then
  redis.call('DECR', KEYS[3])
  return { 'SOLD_OUT', 0 }
end
redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('ZADD', KEYS[1], rank, ARGV[1])
return { 'ISSUED', rank }
