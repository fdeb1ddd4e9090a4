-- Tensors and storages as authors see them: userdata without a way to what stands behind it.
-- P is what the product's own files share; no author's code can reach it.
local P = ...
local bridge = P.bridge
local call, info = bridge.call, bridge.info
local type, select, unpack, pairs, rawget, error, newproxy = type, select, unpack, pairs, rawget, error, newproxy
local setmetatable, sub, floor = setmetatable, string.sub, math.floor

local payload = setmetatable({}, {__mode = 'k'})   -- userdata -> the handle in Python
local proxies = setmetatable({}, {__mode = 'v'})   -- id of the handle -> userdata
local prototypes = {}                              -- class -> a userdata with the metatable of the class
P.payload = payload

-- While a userdata waits for its finalizer, lupa may give another object for the one that it held. A collection that is
-- whole leaves none waiting, so there are only such: after so many new proxies, or where Lua's memory has doubled.
local collect, max, new_proxies, kilobytes = collectgarbage, math.max, 0, 16384
local function collect_all()
   collect('collect')
   collect('stop')
   new_proxies, kilobytes = 0, max(16384, 2 * collect('count'))
end
collect('stop')
function P.collect_if_large() if collect('count') > kilobytes then collect_all() end end

local wrap

-- what goes to Python: handles in place of userdata, in tables as well
local function open(value, depth)
   local kind = type(value)
   if kind == 'userdata' then
      return payload[value] or error('a value of a package that is absent was given to torch (' .. (P.label(value) or '?') .. ')', 0)
   end
   if kind ~= 'table' then return value end
   if depth > 16 then error('a table is nested too deeply for torch', 0) end
   local copy = {}
   for k, v in P.raw_pairs(value) do copy[k] = open(v, depth + 1) end
   return copy
end

-- what comes from Python: userdata in place of handles, in lists as well
function wrap(value)
   local kind = type(value)
   if kind == 'table' then
      for i = 1, #value do value[i] = wrap(value[i]) end
      return value
   end
   if kind ~= 'userdata' then return value end
   local id, typename = info(value)
   local proxy = proxies[id]
   if not proxy then
      proxy = newproxy(prototypes[typename])
      payload[proxy] = value
      proxies[id] = proxy
      new_proxies = new_proxies + 1
      if new_proxies > 4000 then collect_all() end
   end
   return proxy
end
P.wrap = wrap

-- the line of the author's file that a call came from; not of one of the product's own
local getinfo, find, own = debug.getinfo, string.find, P.own
local function where()
   for level = 2, 30 do
      local i = getinfo(level, 'Sl')
      if not i then return '' end
      if i.currentline > 0 and find(i.source, own, 1, true) ~= 1 then return i.short_src .. ':' .. i.currentline .. ': ' end
   end
   return ''
end
P.where = where

local function finish(ok, a, b, c)
   if not ok then error(where() .. a, 0) end
   if c ~= nil then return wrap(a), wrap(b), wrap(c) end
   if b ~= nil then return wrap(a), wrap(b) end
   return wrap(a)
end

-- Numbers that a script which reads data writes into the places of a tensor, one by one, go to Python together: before
-- anything else does.
local filled, places, numbers, count, room = nil, {}, {}, 0, 0
local most_together = 4096
local function flush()
   local into, n, at, what = filled, count, places, numbers
   filled, count = nil, 0
   if n == 0 then return end
   places, numbers = {}, {}
   finish(call('method', '__set_many', payload[into], n, at, what))
end
P.flush = flush
local function written_together(self, key, value)
   if filled ~= self then
      flush()
      local _, length = call('method', '__length', payload[self])
      filled, room = self, length
   end
   if key < 1 or key > room or key ~= floor(key) then return false end
   count = count + 1
   places[count], numbers[count] = key, value
   if count == most_together then flush() end
   return true
end

local function opened(n, ...)
   if filled then flush() end
   local arguments = {...}
   for i = 1, n do
      local kind = type(arguments[i])
      if kind == 'userdata' or kind == 'table' then arguments[i] = open(arguments[i], 0) end
   end
   return unpack(arguments, 1, n)
end

-- is something among the arguments that only data tell, and nothing that would be changed by it?
local function is_of_unknown(n, ...)
   local found = false
   for i = 1, n do
      local value = (select(i, ...))
      local kind = type(value)
      if kind == 'userdata' then
         if payload[value] then return false end
         found = true
      elseif kind == 'table' and not P.typename(value) then
         for _, held in P.raw_pairs(value) do found = found or (type(held) == 'userdata' and not payload[held]) end
      end
   end
   return found
end
-- a function of Lua that runs an operation of Python
local function operation(how, name)
   return function(...)
      if P.some_unknown and is_of_unknown(select('#', ...), ...) then return P.not_known('torch.' .. name .. '(…)') end
      return finish(call(how, name, opened(select('#', ...), ...)))
   end
end
P.operation = operation

-- the output of a network that was built so far
local function computed(module, ...) return finish(bridge.forward(module, opened(select('#', ...), ...))) end
P.computed = computed

-- what a module of nn gives that an author's layer runs
function P.child_operation(how, module, ...) return finish(bridge.child(how, module, opened(select('#', ...), ...))) end

local function number_type(typename, how)
   local class = P.register(typename)
   local names = bridge.names(how)
   for i = 1, #names do
      if sub(names[i], 1, 2) ~= '__' then class[names[i]] = operation(how, names[i]) end
   end
   local get, set = operation(how, '__get'), operation(how, '__set')
   local prototype = newproxy(true)
   local mt = P.metatable_of(prototype)
   mt.__index = function(self, key)
      local kind = type(key)
      if kind == 'string' then return class[key] end
      if kind == 'nil' or kind == 'boolean' or kind == 'function' then return nil end
      return get(self, key)
   end
   mt.__newindex = function(self, key, value)
      if type(key) == 'string' then error('cannot set a field of a tensor or storage', 2) end
      local plain = P.writes_together and how == 'method' and type(key) == 'number' and type(value) == 'number'
      if plain and written_together(self, key, value) then return end
      return set(self, key, value)
   end
   local size = class.size
   mt.__len = function(self) return size(self) end
   mt.__tostring = class.tostring
   class.__tostring__ = class.tostring
   if how == 'method' then
      for _, name in ipairs{'add', 'sub', 'mul', 'div', 'unm'} do mt['__' .. name] = operation('function', '__' .. name) end
   end
   mt.__metatable = class
   prototypes[typename] = prototype
   P.names[mt] = typename

   local make = operation('construct', typename)
   local constructor = P.constructor(typename, class, make)
   -- x.new(…) and x:new(…): the tensor before the dot only says the type
   function class.new(first, ...)
      if type(first) == 'userdata' and P.typename(first) == typename and how == 'method' then return make(...) end
      return make(first, ...)
   end
   return constructor
end

-- a number that was computed from the numbers of tensors, while a layer is recorded: no class of authors
local function recorded_number()
   local prototype = newproxy(true)
   local mt = P.metatable_of(prototype)
   for _, name in ipairs{'add', 'sub', 'mul', 'div', 'pow', 'mod', 'unm'} do mt['__' .. name] = operation('function', '__' .. name) end
   local asked = operation('function', '__asked')
   for _, name in ipairs{'eq', 'lt', 'le', 'concat', 'tostring', 'index', 'newindex', 'call', 'len'} do mt['__' .. name] = asked end
   mt.__metatable = false
   prototypes['torch.RecordedNumber'] = prototype
   P.recorded_number = mt
end

function P.make_number_types()
   recorded_number()
   local kinds = bridge.kinds()
   for i = 1, #kinds do
      number_type('torch.' .. kinds[i] .. 'Storage', 'storage')
      number_type('torch.' .. kinds[i] .. 'Tensor', 'method')
   end
end
