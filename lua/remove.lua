-- Removes the keys of a campaign that is over, if nothing has changed since its winners were compared with the rows. UNLINK: to free a
-- million winners at once would hold everybody up.
--
-- KEYS  meta, issued, count, request, free
-- ARGV  history, epoch and highest rank captured before the winners were read, number of winners that were read
-- Reply OK, HISTORY, or OTHER (another ledger, or more winners, than were compared: nothing is removed)
if history() ~= ARGV[1] then return 'HISTORY' end
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'highest', 'format')
known_format(meta[3])
if meta[1] ~= ARGV[2] or meta[2] ~= ARGV[3] or redis.call('ZCARD', KEYS[2]) ~= tonumber(ARGV[4]) then return 'OTHER' end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return 'OK'
