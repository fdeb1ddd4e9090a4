-- What authors may call of Lua's own libraries; the rest is taken away. After this file nothing is open.
local P = ...
local bridge = P.bridge
local type, error, tostring, tonumber, select, ipairs, pairs, next = type, error, tostring, tonumber, select, ipairs, pairs, next
local rawget, setmetatable = rawget, setmetatable
local pcall, xpcall, unpack, concat, byte, floor = pcall, xpcall, unpack, table.concat, string.byte, math.floor
local sethook, getinfo, clock = debug.sethook, debug.getinfo, os.clock
P.getinfo, P.getlocal, P.getupvalue, P.setfenv = getinfo, debug.getlocal, debug.getupvalue, setfenv

-- Lua 5.1 can't stop a loop in a coroutine from outside: each one gets the hook
local deadline, turns, over = clock() + P.cpu_seconds, 0, false
local function expired()
   P.collect_if_large()
   turns = turns + 1
   over = over or turns % 50 == 0 and clock() > deadline
   if over then error('the Lua ran for more than ' .. P.cpu_seconds .. ' s (LuaLimits.cpu_seconds)', 0) end
end
sethook(expired, '', 2000)
-- each answer of a process that is kept has its own time
function P.allow_more() deadline, over = clock() + P.cpu_seconds, false end
local create, resume, status, yield, running = coroutine.create, coroutine.resume, coroutine.status, coroutine.yield, coroutine.running
local function hooked(f)
   if type(f) ~= 'function' then error('bad argument #1 to \'create\' (Lua function expected)', 3) end
   local thread = create(f)
   sethook(thread, expired, '', 2000)
   return thread
end
coroutine = {create = function(f) return hooked(f) end, resume = resume, status = status, yield = yield, running = running}
function coroutine.wrap(f)
   local thread = hooked(f)
   local function given(ok, ...)
      if not ok then error((...), 0) end
      return ...
   end
   return function(...) return given(resume(thread, ...)) end
end

-- as LuaJIT has them
local function passed(ok, ...)
   if not ok then
      expired()
      if P.has_ended then P.has_ended() end
   end
   return ok, ...
end
function P.xpcall(f, handler) return passed(xpcall(f, handler)) end
local function caught(ok, ...)
   if not ok then P.not_caught((...)) end
   return passed(ok, ...)
end
function _G.pcall(f, ...) return caught(pcall(f, ...)) end
function _G.xpcall(f, handler, ...)
   local n, arguments = select('#', ...), {...}
   return caught(xpcall(function() return f(unpack(arguments, 1, n)) end, handler))
end
-- behind: what is put behind the text, whose statements may stop one by one; nil: none may
function P.compile(text, name, behind)
   if byte(text, 1) == 27 then return nil, 'compiled code (bytecode) is not loaded' end
   local guarded = bridge.guarded(text, behind ~= nil and P.goes_on == true)
   local f = guarded and P.loadstring(guarded .. (behind or ''), name)
   if not f and behind then
      guarded = bridge.guarded(text, false)
      f = guarded and P.loadstring(guarded .. behind, name)
   end
   if f then return f end
   return P.loadstring(text .. (behind or ''), name)
end
function _G.loadstring(text, name)
   if type(text) ~= 'string' then error('bad argument #1 to \'loadstring\' (string expected)', 2) end
   return P.compile(text, name or text)
end
function _G.load(f, name)
   if type(f) == 'string' then return P.compile(f, name or f) end
   local parts = {}
   repeat
      local part = f()
      parts[#parts + 1] = part
   until not part or part == ''
   return P.compile(concat(parts), name or '=(load)')
end

-- Lua does not say in which order pairs goes through names, nor through numbers that are no list inside, as those of
-- {[1] = a, [2] = b}. A list comes first; the second run takes the rest the other way round, so that what depends on the
-- order shows as a difference between the two.
P.raw_pairs = pairs
local metatable_of = P.metatable_of
local hashed = setmetatable({}, {__mode = 'k'})
-- the texts of authors call it where a table is written with numbers as keys
function __hashed(t)
   hashed[t] = true
   return t
end
function _G.pairs(t)
   if type(t) ~= 'table' then return P.raw_pairs(t) end
   local keys, n, length = {}, 0, #t
   for i = 1, length do keys[i] = i end
   n = length
   local last, ascending = 0, not hashed[t]
   for k in next, t do
      if not (type(k) == 'number' and k >= 1 and k <= length and floor(k) == k) then
         n = n + 1
         keys[n] = k
      else
         ascending = ascending and k > last
         last = k
      end
   end
   if P.reversed then
      local kept = ascending and length or 0
      for i = 1, floor((n - kept) / 2) do
         keys[kept + i], keys[n + 1 - i] = keys[n + 1 - i], keys[kept + i]
      end
   end
   local at = 0
   local function step(list)
      at = at + 1
      local k = keys[at]
      if k == nil then return nil end
      local v = rawget(list, k)
      if v == nil then return step(list) end      -- taken out on the way
      return k, v
   end
   return step, t, nil
end

local format, rep, log = string.format, string.rep, math.log
function string.format(form, ...)
   local arguments, n = {...}, select('#', ...)
   local at = 0
   for flag, letter in string.gmatch(form, '%%([^%a%%]*)([%a%%])') do
      if letter ~= '%' then
         at = at + 1
         local kind = type(arguments[at])
         if letter == 's' and at <= n and kind ~= 'string' and kind ~= 'number' then arguments[at] = tostring(arguments[at]) end
      end
   end
   return format(form, unpack(arguments, 1, n))
end
function string.rep(text, n, between)
   if not between or between == '' or n < 2 then return rep(text, n) end
   return rep(text .. between, n - 1) .. text
end
-- as xlua has it, which th loads: parts between a pattern, without an empty first or last one
function string.split(text, pattern)
   local parts, start = {}, 1
   while true do
      local from, to = string.find(text, pattern, start)
      if not from then break end
      if from > 1 then parts[#parts + 1] = string.sub(text, start, from - 1) end
      start = to + 1
      if to < from then error('the pattern to split at may not be empty', 2) end
   end
   if start <= #text then parts[#parts + 1] = string.sub(text, start) end
   return parts
end
function math.log(x, base) return base and log(x) / log(base) or log(x) end
string.gfind = string.gmatch
table.unpack = unpack
string.dump = nil
-- LuaJIT's own sequence, which is the same in every process
local drawn, seeded = P.operation('function', '__math_random'), P.operation('function', '__math_randomseed')
function math.random(low, high)
   local value = drawn()
   if low == nil then return value end
   if type(low) ~= 'number' then error('bad argument #1 to \'random\' (number expected, got ' .. type(low) .. ')', 2) end
   if high == nil then return floor(value * low) + 1 end
   return floor(value * (high - low + 1)) + low
end
function math.randomseed(number) seeded(tonumber(number) or 0) end

-- times differ from run to run; these do not, and two runs do
os = {
   time = function() return 1262304000 + P.run * 86400 * 400 end,
   clock = function() return P.run end,
   date = function(form)
      if type(form) == 'string' and string.find(form, '^!?%*t') then
         return {year = 2010 + P.run, month = 1 + P.run, day = 1 + P.run, hour = P.run, min = P.run, sec = P.run, wday = 6, yday = 1, isdst = false}
      end
      return P.run == 0 and 'Fri Jan  1 00:00:00 2010' or 'Sat Feb  5 01:01:01 2011'
   end,
   -- nothing of the user's; paths are made of this one before anything is read
   getenv = function(name)
      -- some authors take their options from there
      local told = P.told(name)
      if told ~= nil then return tostring(told) end
      return name == 'HOME' and '/home/author' or nil
   end,
   difftime = function(a, b) return a - b end,
   tmpname = function() return 'tmp' end,
}
-- folders for results aren't needed, since nothing is written
function os.execute(command)
   if type(command) == 'string' and string.find(command, '^%s*mkdir%s') then return 0 end
   -- nothing is run; a script that runs for its options alone goes on
   if P.end_of_file then return 0 end
   error('os.execute is closed', 2)
end
for _, name in ipairs{'remove', 'rename', 'exit'} do
   os[name] = function() error('os.' .. name .. ' is closed', 2) end
end
local function write(...)
   local texts = {}
   for i = 1, select('#', ...) do texts[i] = tostring((select(i, ...))) end
   bridge.write(concat(texts))
end
local stream = {flush = function() end, close = function() end, setvbuf = function() end}
stream.write = function(self, ...) write(...) return self end
io = {
   write = write, stdout = stream, stderr = stream, flush = function() end,
   read = function() return nil end,
   -- what is written goes nowhere, and nothing can be read
   open = function(name, mode)
      if type(mode) == 'string' and string.find(mode, '^[wa]') then
         return {write = function(self) return self end, flush = stream.flush, close = stream.close, setvbuf = stream.setvbuf}
      end
      -- for those who ask it is not there; what is read of it is not known
      P.ask(name)
      return not P.computes and P.absent_file(tostring(name)) or nil, tostring(name) .. ': files are closed'
   end,
}
for _, name in ipairs{'popen', 'lines'} do
   io[name] = function(what)
      if P.computes then error('io.' .. name .. ' is closed', 2) end
      P.ask(what)
      return P.not_known('io.' .. name .. '(' .. tostring(what) .. ')')
   end
end
for _, name in ipairs{'input', 'output', 'tmpfile'} do
   io[name] = function() error('io.' .. name .. ' is closed', 2) end
end
function print(...)
   local texts = {}
   for i = 1, select('#', ...) do texts[i] = tostring((select(i, ...))) end
   bridge.write(concat(texts, '\t') .. '\n')
end

-- where a function stands, and nothing that reaches further
debug = {
   getinfo = function(f, what)
      local i
      if type(f) == 'number' then i = getinfo(f + 1, 'Sl') else i = getinfo(f, 'Sl') end
      if not i then return nil end
      return {short_src = i.short_src, source = i.source, currentline = i.currentline, linedefined = i.linedefined, what = i.what}
   end,
   traceback = function(message) return message == nil and '' or tostring(message) end,
}
local collect = collectgarbage
function collectgarbage(what) return what == 'count' and 1024 or 0 end
jit = {on = function() end, off = function() end, flush = function() end, version = 'LuaJIT 2.1.0-beta1', version_num = 20100, os = 'Linux', arch = 'x64'}
for _, name in ipairs{'python', 'module', 'gcinfo', 'newproxy', 'getfenv', 'setfenv', 'dofile', 'loadfile'} do _G[name] = nil end
-- the strings of all share one metatable
P.metatable_of('').__metatable = 'the metatable of strings is closed'
bit = {}
local function signed(x) x = x % 4294967296 return x >= 2147483648 and x - 4294967296 or x end
local function each(f)
   return function(first, ...)
      local result = first % 4294967296
      for i = 1, select('#', ...) do
         local other, sum, place = (select(i, ...)) % 4294967296, 0, 1
         for _ = 1, 32 do
            if f(result % 2, other % 2) then sum = sum + place end
            result, other, place = floor(result / 2), floor(other / 2), place * 2
         end
         result = sum
      end
      return signed(result)
   end
end
bit.band = each(function(a, b) return a + b == 2 end)
bit.bor = each(function(a, b) return a + b > 0 end)
bit.bxor = each(function(a, b) return a ~= b end)
function bit.bnot(x) return signed(4294967295 - x % 4294967296) end
function bit.tobit(x) return signed(x) end
function bit.lshift(x, n) return signed((x % 4294967296) * 2 ^ (n % 32)) end
function bit.rshift(x, n) return signed(floor((x % 4294967296) / 2 ^ (n % 32))) end
function bit.arshift(x, n) return floor(signed(x) / 2 ^ (n % 32)) end
arg = {}
