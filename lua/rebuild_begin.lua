-- Step 1 of 3: begins an attempt. Its keys vanish by themselves if it is given up.
--
-- KEYS  temporary meta
-- ARGV  history captured before Redis was read, seconds the attempt may take
-- Reply OK, HISTORY or TAKEN (an attempt id is used once)
if history() ~= ARGV[1] then return 'HISTORY' end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'TAKEN' end
redis.call('HSET', KEYS[1], 'attempt', 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 'OK'
