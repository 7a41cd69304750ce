-- Stops issuing, at once and without a number: whatever the order of changes, stopping is safe, and the next numbered change brings
-- the rest. It asks neither for the epoch nor for the history: what is not served anyway is suspended for nothing.
--
-- KEYS  meta
-- Reply OK, or CLOSED (no meta: nobody is given anything)
if redis.call('EXISTS', KEYS[1]) == 0 then return 'CLOSED' end
redis.call('HSET', KEYS[1], 'suspended', '1')
return 'OK'
