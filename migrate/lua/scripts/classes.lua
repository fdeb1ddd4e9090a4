-- torch.class and what belongs to it.
local P = ...
local type, rawget, rawset, setmetatable, pairs, ipairs, error = type, rawget, rawset, setmetatable, pairs, ipairs, error
local tostring, tonumber, rawequal, match, gmatch, find = tostring, tonumber, rawequal, string.match, string.gmatch, string.find
local metatable_of = debug.getmetatable
P.metatable_of = metatable_of

local torch = {}
P.torch = torch
_G.torch = torch
local classes, constructors = {}, {}
P.classes = classes
P.own_classes = {}        -- of the product
local computing = {'updateOutput', 'forward', '__call__'}

-- what the product's classes say about how they compute, before and after an author's files ran
local function said(class)
   local found = {}
   for i, name in ipairs(computing) do found[i] = rawget(class, name) or false end
   return found
end
local before = {}
function P.remember_classes()
   for _, class in ipairs(P.own_classes) do
      before[class] = said(class)
   end
end
-- the first method that an author's file put in place of one of the product's, such as nn.Linear.updateOutput
function P.replaced_method()
   if P.replaced_earlier then return P.replaced_earlier end
   for _, class in ipairs(P.own_classes) do
      for i, value in ipairs(said(class)) do
         if before[class] and before[class][i] ~= value then return class.__typename .. '.' .. computing[i] end
      end
   end
end
P.names = {}              -- metatable -> class
local names = P.names

local function typename(value)
   local mt = metatable_of(value)
   return mt and names[mt]
end
P.typename = typename

-- where the constructor of a class goes: the table before the last dot
local function place(name, module)
   local prefix, last = match(name, '^(.+)%.([^.]+)$')
   if module then return module, last or name end
   if not prefix then return _G, name end
   local at = _G
   for part in gmatch(prefix, '[^.]+') do
      local inner = rawget(at, part)
      if inner == nil then
         inner = {}
         rawset(at, part, inner)
      end
      if type(inner) ~= 'table' then error('while creating class ' .. name .. ': ' .. part .. ' is no table', 3) end
      at = inner
   end
   return at, last
end

function P.register(name, parent)
   local class = {__typename = name}
   names[class], classes[name] = name, class
   if parent then
      setmetatable(class, {__index = parent, __typename = parent.__typename, __metatable = parent})
   end
   return class
end

function P.constructor(name, class, make, module)
   local constructor = setmetatable({}, {
      __call = function(_, ...) return make(...) end,
      __index = class, __newindex = class, __metatable = class,
   })
   constructors[name] = constructor
   local at, last = place(name, module)
   rawset(at, last, constructor)
   return constructor
end

local binary = {'add', 'sub', 'mul', 'div', 'mod', 'pow', 'concat'}

local function object_class(name, parent)
   local class = P.register(name, parent)
   class.__index = function(self, key)
      local hook = class.__index__
      if hook then
         local value, done = hook(self, key)
         if done then return value end
      end
      return class[key]
   end
   class.__newindex = function(self, key, value)
      local hook = class.__newindex__
      if hook and hook(self, key, value) then return end
      rawset(self, key, value)
   end
   class.__tostring = function(self)
      local hook = class.__tostring__
      return hook and hook(self) or name
   end
   class.__call = function(self, ...)
      local hook = class.__call__
      if not hook then error(name .. ' has no __call__ method', 2) end
      return hook(self, ...)
   end
   class.__eq = function(a, b)
      local hook = class.__eq__
      if hook then return hook(a, b) end
      return rawequal(a, b)
   end
   for _, operator in ipairs{'len', 'unm'} do
      class['__' .. operator] = function(a)
         local hook = class['__' .. operator .. '__']
         if not hook then error(name .. ' has no __' .. operator .. '__ method', 2) end
         return hook(a)
      end
   end
   for _, operator in ipairs{'lt', 'le'} do
      class['__' .. operator] = function(a, b)
         local hook = class['__' .. operator .. '__']
         if not hook then error(name .. ' has no __' .. operator .. '__ method', 2) end
         return hook(a, b)
      end
   end
   for _, operator in ipairs(binary) do
      local field = '__' .. operator .. '__'
      class['__' .. operator] = function(a, b)
         local of_a, of_b = typename(a) and classes[typename(a)], typename(b) and classes[typename(b)]
         local hook = of_a and of_a[field] or of_b and of_b[field]
         if not hook then error(name .. ' has no ' .. field .. ' operator', 2) end
         return hook(a, b)
      end
   end
   return class
end

-- torch.class(name, [parent], [module])
function torch.class(name, parent, module)
   if type(parent) == 'table' then parent, module = nil, parent end
   if type(name) ~= 'string' then error('the name of a class must be a string', 2) end
   if classes[name] then error('class ' .. name .. ' has been already assigned', 2) end
   local above
   if parent then above = classes[parent] or error('unknown parent class <' .. tostring(parent) .. '>', 2) end
   local class = object_class(name, above)
   local own = P.in_package
   if own then P.own_classes[#P.own_classes + 1] = class else P.bridge.on_class(name, P.running_file()) end
   local function make(...)
      if own and P.some_unknown then
         -- a loss is no part of a network
         if P.has_unknown(...) and torch.isTypeOf(setmetatable({}, class), 'nn.Criterion') then return P.not_known(name) end
         P.may_be_given(name, ...)
      end
      local self = setmetatable({}, class)
      torch.pointer(self)      -- numbered as they are made, so that two runs write them in one order
      local init = class.__init
      if init then init(self, ...) end
      return self
   end
   class.new = make
   P.constructor(name, class, make, module)
   return class, above
end

torch.typename = typename
function torch.type(value) return typename(value) or type(value) end
function torch.getmetatable(name) return classes[name] end
function torch.setmetatable(value, name)
   if type(value) ~= 'table' then error('table expected', 2) end
   return setmetatable(value, classes[name] or error('unknown class <' .. tostring(name) .. '>', 2))
end
function torch.getconstructortable(name)
   return constructors[name] or error(tostring(name) .. ' is no class', 2)
end
function torch.factory(name)
   local class = classes[name]
   return class and function() return setmetatable({}, class) end
end

-- torch.isTypeOf(value, 'nn.Module' or a pattern, or a class)
function torch.isTypeOf(value, wanted)
   if type(wanted) == 'table' then wanted = rawget(metatable_of(wanted) or {}, '__metatable') or wanted end
   local class = metatable_of(value)
   if class and type(value) == 'userdata' then class = classes[names[class] or ''] end
   while class do
      local name = names[class]
      if not name then return false end
      if type(wanted) == 'string' then
         local found = match(name, wanted)
         if found and (found ~= wanted or found == name) then return true end
      elseif class == wanted then
         return true
      end
      local above = metatable_of(class)
      class = above and above.__metatable
   end
   return false
end
P.is_a = torch.isTypeOf
function torch.isTensor(value)
   local name = typename(value)
   return name ~= nil and find(name, '^torch%..*Tensor$') ~= nil
end
function torch.isStorage(value)
   local name = typename(value)
   return name ~= nil and find(name, '^torch%..*Storage$') ~= nil
end

-- a number for each thing: the same storage has the same
local pointers, count = setmetatable({}, {__mode = 'k'}), 0
function torch.pointer(value)
   local kind = type(value)
   if kind == 'userdata' and typename(value) then return P.pointer(value) end
   if kind == 'string' or kind == 'number' or kind == 'boolean' or kind == 'nil' then
      error('Torch object, table, thread, cdata or function expected', 2)
   end
   if not pointers[value] then
      count = count + 1
      pointers[value] = count
   end
   return pointers[value]
end
