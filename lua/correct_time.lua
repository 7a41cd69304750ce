-- Sets the time of the latest grant, behind which no time goes back, to Redis' own where it is ahead of it: what a clock that was
-- wrong for a while leaves behind, and by which users would be told that a sale has ended. To be called only when others stand by
-- Redis' clock.
--
-- KEYS  meta
-- Reply OK, or CLOSED (no meta: there is nothing to correct)
known_format(redis.call('HGET', KEYS[1], 'format'))
local last_ms = redis.call('HGET', KEYS[1], 'last_ms')
if not last_ms then return 'CLOSED' end
local now = now_ms()
if tonumber(last_ms) > now then redis.call('HSET', KEYS[1], 'last_ms', string.format('%.0f', now)) end
return 'OK'
