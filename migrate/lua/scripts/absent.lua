-- What is not there: packages, and what only data tell. Such a value can be passed on, and decides nothing: the texts of
-- authors ask here wherever one would (syntax/guards.py). What holds one in the end is refused.
local P = ...
local type, error, select, ipairs, rawget, rawset, setmetatable, pcall = type, error, select, ipairs, rawget, rawset, setmetatable, pcall
local tostring, find, newproxy, unpack = tostring, string.find, newproxy or P.newproxy, unpack
local getinfo, getlocal, getupvalue = P.getinfo, P.getlocal, P.getupvalue
local metatable_of, torch = P.metatable_of, P.torch

local labels = setmetatable({}, {__mode = 'k'})       -- value -> what it stands for
local packages = setmetatable({}, {__mode = 'k'})     -- those that were there, for sure, where the author ran it
local files = setmetatable({}, {__mode = 'k'})        -- a file that is asked for is not there
local prototype = newproxy(true)
local told, has_told = {}, {}                         -- name -> the number that the user gave for it; whether it was used
P.has_told = has_told
local phrase = 'only data tell '

local function not_known(label)
   if P.absent_raises then error(P.where() .. 'a package that is not there is used', 0) end
   P.some_unknown = true
   local value = newproxy(prototype)
   labels[value] = #label < 80 and label or string.sub(label, 1, 80) .. '…'
   P.payload[value] = false
   return value
end
P.not_known = not_known
function P.is_unknown(value) return labels[value] ~= nil end
function P.label(value) return labels[value] end
function P.absent_package(name)
   local value = newproxy(prototype)
   labels[value], packages[value] = name, true
   P.payload[value] = false
   return value
end
function P.absent_file(label)
   local value = not_known(label)
   files[value] = true
   return value
end
-- the answer of a call that does nothing here
function P.swallowed(label) return P.absent_raises and P.absent or not_known(label) end
function P.tell(name, value) told[name] = value end
-- what the user gave for an option of the script's own; kind: the type of its default, if it has one, which is noted
P.own_options = {}
function P.told(name, kind, default)
   local value = told[name]
   if type(default) == 'string' then P.own_options[#P.own_options + 1] = {name, default} end
   if value == nil then return nil end
   if kind == 'string' and type(value) == 'number' then value = tostring(value) end
   if kind and type(value) ~= kind then
      error(P.where() .. 'the option ' .. name .. ' is a ' .. kind .. ', not ' .. tostring(value), 0)
   end
   has_told[name] = true
   return value
end
local function by_name(value, name)
   if labels[value] and not packages[value] and name and told[name] ~= nil then
      has_told[name] = true
      return told[name]
   end
   return value
end

local function undecided(value)
   error(P.where() .. phrase .. labels[value] .. ', which decides here what is done', 0)
end
P.undecided = undecided
-- an error that comes of data that are not there, and not of what the author wrote
local causes = {phrase, 'userdata', 'no file ', 'files are closed', ' is closed', 'is not there for a definition', 'that is absent was given to torch',
                -- data that would have been too many
                'is more than LuaLimits.elements'}
function P.is_of_data(message)
   if labels[message] then return true end
   if type(message) ~= 'string' or find(message, '^module ') or find(message, "module '", 1, true) then return false end
   for _, text in ipairs(causes) do
      if find(message, text, 1, true) then return true end
   end
   return false
end
-- what a script catches of it would decide as well
function P.not_caught(message)
   if type(message) == 'string' and find(message, phrase, 1, true) then error(message, 0) end
end

do
   local mt = metatable_of(prototype)
   mt.__index = function(self, key)
      if type(key) == 'string' then
         if told[key] ~= nil and not packages[self] then
            has_told[key] = true
            return told[key]
         end
         return not_known(labels[self] .. '.' .. key)
      end
      return not_known(labels[self] .. '[…]')
   end
   mt.__call = function(self, ...)
      -- what a file would have been read into holds other numbers in the second run
      for i = 1, find(labels[self], '%.read%w*$') and select('#', ...) or 0 do
         local into = (select(i, ...))
         if P.payload[into] then into:fill(P.run + 1) end
      end
      return not_known(find(labels[self], '%)$') and labels[self] or labels[self] .. '(…)')
   end
   local function combined(a, b) return not_known(labels[a] or labels[b]) end
   for _, name in ipairs{'add', 'sub', 'mul', 'div', 'mod', 'pow', 'unm', 'concat'} do mt['__' .. name] = combined end
   mt.__newindex = function() end
   mt.__len = function(self) return not_known('#' .. labels[self]) end
   mt.__tostring = function(self) return '<' .. labels[self] .. '>' end
   mt.__metatable = false
   P.absent = P.absent_package('absent')
end

-- ------------------------------------------------------------------ what the texts of authors ask

-- a value that decides which way is taken
function P.has_unknown(...)
   for i = 1, select('#', ...) do
      local value = (select(i, ...))
      if labels[value] and not packages[value] then return true end
   end
end
-- constructors are not given such a value
function P.may_be_given(class, ...)
   for i = 1, select('#', ...) do
      local value = (select(i, ...))
      if labels[value] and not packages[value] then
         error(P.where() .. phrase .. labels[value] .. ', which ' .. class .. ' is given', 0)
      end
   end
end
function __decided(value)
   if labels[value] and not packages[value] then
      if files[value] then return nil end
      undecided(value)
   end
   return value
end
function __at(held, key)
   if labels[key] then
      if type(held) == 'userdata' then return not_known(labels[held] or labels[key]) end
      undecided(key)
   end
   return held[key]
end
function __each(first, ...)
   if labels[first] then undecided(first) end
   return first, ...
end
function __several(count, first, ...)
   if labels[first] and select('#', ...) < count - 1 then
      local values = {}
      for i = 1, count do values[i] = not_known(labels[first]) end
      return unpack(values, 1, count)
   end
   return first, ...
end
function __pass(...) return ... end
local function unknown_names(count, ...)
   local values = {}
   for i = 1, count do
      local name = (select(i, ...))
      values[i] = by_name(not_known(name), string.match(name, '[%w_]*$'))
   end
   return unpack(values, 1, count)
end

-- ------------------------------------------------------------------ statements that stop

local touched
P.not_whole = setmetatable({}, {__mode = 'k'})     -- networks to which a statement that stopped was adding
P.lost = {}                                        -- what stopped statements
P.is_part = setmetatable({}, {__mode = 'k'})
function P.is_changing(module, part)
   if touched then touched[module] = true end
   if labels[part] and not packages[part] then
      error(P.where() .. phrase .. labels[part] .. ', which is added to ' .. P.typename(module), 0)
   end
   if part ~= nil then P.is_part[part] = true end
end
local function results(before, count, names, ok, ...)
   local within = touched
   touched = before
   if ok then
      for module in P.raw_pairs(before and within or {}) do before[module] = true end
      if count == 0 then return end
      local values = {...}
      for i = 1, count do
         local value = values[i]
         if labels[value] and not packages[value] and find(labels[value], '[^%w_.]') then value = not_known(names[i]) end
         values[i] = by_name(value, string.match(names[i], '[%w_]*$'))
      end
      return unpack(values, 1, count > select('#', ...) and count or select('#', ...))
   end
   local message = (...)
   if P.has_ended then P.has_ended() end
   if not P.is_of_data(message) then error(message, 0) end
   for module in P.raw_pairs(within) do P.not_whole[module] = true end
   P.lost[#P.lost + 1] = labels[message] and phrase .. labels[message] or message
   if count == 0 then return true end
   return unknown_names(count, unpack(names))
end
-- What the functions that a stopped statement was in would have done further on: variables that they would have set are
-- not known, and networks that they would have changed are not whole.
local function modules_of(value)
   if P.is_a(value, 'nn.Module') then return {value} end
   local found = {}
   if type(value) == 'table' and not P.typename(value) and value ~= _G then
      for _, held in P.raw_pairs(value) do
         if P.is_a(held, 'nn.Module') then found[#found + 1] = held end
      end
   end
   return found
end
local function visible(level)
   local at, names, order = getinfo(level + 1, 'f'), {}, {}
   local function note(name, value)
      if string.sub(name, 1, 1) ~= '(' and names[name] == nil then order[#order + 1] = name end
      if string.sub(name, 1, 1) ~= '(' then names[name] = value end
   end
   for number = 1, 250 do
      local name, value = getupvalue(at.func, number)
      if not name then break end
      note(name, value)
   end
   for number = 1, 250 do
      local name, value = getlocal(level + 1, number)
      if not name then break end
      note(name, value)
   end
   return names, order
end
local function left_undone(level)
   local at = getinfo(level + 1, 'Sl')
   local file, first, last = string.sub(at.source, 2), at.currentline, at.lastlinedefined
   local names, order = visible(level + 1)
   for name, value in P.raw_pairs(_G) do
      if names[name] == nil and type(name) == 'string' and #modules_of(value) > 0 and name ~= 'nn' then
         names[name] = value
         order[#order + 1] = name
      end
   end
   for _, name in ipairs(order) do
      local modules = modules_of(names[name])
      if #modules > 0 and not P.bridge.only_used(file, first, last, name) then
         for _, module in ipairs(modules) do P.not_whole[module] = true end
      end
   end
   local targets = P.bridge.targets(file, first, last)
   for i = 1, #targets do
      local base, below = string.match(targets[i], '^([%w_]+)%.?(.*)$')
      local held = names[base]
      if below == '' then
         if held == nil and rawget(_G, base) ~= nil and not package.loaded[base] then rawset(_G, base, not_known(base)) end
      else
         if held == nil then held = rawget(_G, base) end
         local path, key = string.match(below, '^(.-)%.?([%w_]+)$')
         for part in string.gmatch(path, '[%w_]+') do held = type(held) == 'table' and rawget(held, part) or nil end
         if type(held) == 'table' and not package.loaded[base] then rawset(held, key, not_known(targets[i])) end
      end
   end
end
function P.stops(message)
   if not touched or not P.is_of_data(message) then return end
   for level = 3, 200 do
      local at = getinfo(level, 'Sf')
      if not at or at.func == __try then return end
      if string.sub(at.source, 1, 1) == '@' and at.what ~= 'main' then left_undone(level) end
   end
end
function __try(f, count, ...)
   local before = touched
   touched = {}
   return results(before, count, {...}, P.protected(f))
end
function __spoil(f) pcall(f) end
function __not_known(name) return unknown_names(1, name) end
function __held(value, name)
   if P.is_a(value, 'nn.Module') or type(value) ~= 'table' or value == package.loaded[name] then return value end
   return not_known(name)
end

-- ------------------------------------------------------------------ Lua's own functions

local function lifted(f, label)
   return function(...)
      local a, b = ...
      if labels[a] or labels[b] then return not_known(labels[a] or labels[b]) end
      return f(...)
   end
end
local function with_all(f)
   return function(...)
      for i = 1, select('#', ...) do
         local value = (select(i, ...))
         if labels[value] then return not_known(labels[value]) end
      end
      return f(...)
   end
end
local function asking(f)
   return function(value, ...)
      if labels[value] then undecided(value) end
      return f(value, ...)
   end
end
function P.lift_functions()
   for _, library in ipairs{math, string} do
      for name, f in P.raw_pairs(library) do
         if type(f) == 'function' then library[name] = (name == 'format' and with_all or lifted)(f) end
      end
   end
   for _, name in ipairs{'type', 'tonumber', 'tostring'} do
      local f = _G[name]
      rawset(_G, name, function(...)
         local value = ...
         if labels[value] and not packages[value] then return value end
         return f(...)
      end)
   end
   for _, name in ipairs{'ipairs', 'pairs', 'next', 'unpack'} do rawset(_G, name, asking(_G[name])) end
   local asserted = assert
   rawset(_G, 'assert', function(value, ...)
      -- where the author ran it, it held
      if labels[value] then return value, ... end
      return asserted(value, ...)
   end)
   for _, name in ipairs{'typename', 'type', 'isTensor', 'isStorage', 'isTypeOf'} do torch[name] = lifted(torch[name]) end
end
