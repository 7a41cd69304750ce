-- Step 3 of 3: puts the temporary keys in place of the campaign's, meta last. Works once per attempt.
--
-- KEYS  temporary meta, issued, count, request, free; then the campaign's meta, issued, count, request, free
-- ARGV  history captured before Redis was read, expected winners, expected free ranks,
--       epoch, total, limit, start ms, end ms, suspended, number of these terms, highest,
--       time of the latest grant in ms
-- Reply OK, HISTORY, GONE (no such attempt, or it was swapped already), COUNTS (not everything arrived)
if history() ~= ARGV[1] then return 'HISTORY' end
if redis.call('EXISTS', KEYS[1]) == 0 then return 'GONE' end
-- A meta key that is no hash was removed before (clear_unreadable.lua).
known_format(redis.call('HGET', KEYS[6], 'format'))
local issued, misfit = whole(KEYS[2], KEYS[3], KEYS[4], KEYS[5], tonumber(ARGV[11]))
if misfit or issued ~= tonumber(ARGV[2]) or redis.call('LLEN', KEYS[5]) ~= tonumber(ARGV[3]) then return 'COUNTS' end
-- Time never goes back within a campaign, not even on a promoted replica with a slower clock.
local last_ms = math.max(tonumber(redis.call('HGET', KEYS[6], 'last_ms') or 0), tonumber(ARGV[12]))
for i = 2, 5 do
  -- RENAME and DEL free what was there at once: for a million winners that is most of a second in which nobody is served.
  redis.call('UNLINK', KEYS[5 + i])
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('RENAME', KEYS[i], KEYS[5 + i])
    redis.call('PERSIST', KEYS[5 + i])
  end
end
redis.call('DEL', KEYS[1], KEYS[6])
redis.call('HSET', KEYS[6], 'epoch', ARGV[4], 'history', ARGV[1], 'total', ARGV[5], 'limit', ARGV[6], 'start_ms', ARGV[7],
  'end_ms', ARGV[8], 'suspended', ARGV[9], 'terms', ARGV[10], 'highest', ARGV[11], 'last_ms', string.format('%.0f', last_ms), 'format', FORMAT)
return 'OK'
