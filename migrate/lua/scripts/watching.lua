-- What an author's script does with the file that defines a network: which networks it gets from it, and what the
-- script's variables hold at its end, or where it stopped.
local P = ...
local type, next, rawget, select, setmetatable, error, ipairs, concat = type, next, rawget, select, setmetatable, error, ipairs, table.concat
local getinfo, getlocal, setfenv, sub = P.getinfo, P.getlocal, P.setfenv, string.sub

-- the local variables of each file's main part: file -> {line =, stopped =, names = in order, values =}
local scopes = {}
P.scopes = scopes

local function note(level, stopped)
   local at = getinfo(level + 1, 'Sl')
   local names, values, number = {}, {}, 1
   while true do
      local name, value = getlocal(level + 1, number)
      if not name then break end
      if sub(name, 1, 1) ~= '(' then
         names[#names + 1] = name
         values[name] = value
      end
      number = number + 1
   end
   scopes[sub(at.source, 2)] = {line = at.currentline, stopped = stopped, names = names, values = values}
end

function P.names_of_globals()
   local names = {}
   for name in next, _G do names[name] = true end
   return names
end

-- from now on; file: the one that defines the network, or nil; wanted: the function at whose network the script ends
local wanted
local ended = 'the script has given the network'
function P.watch(file, name)
   P.watched_file, wanted = file, name
   P.on_error = function()
      for level = 3, 200 do
         local at = getinfo(level, 'S')
         if not at then return end
         if at.what == 'main' and sub(at.source, 1, 1) == '@' then note(level, true) end
      end
   end
   P.end_of_file = function() note(2, false) end
   -- whatever the script catches
   P.has_ended = function() if P.wanted_value then error(ended, 0) end end
end
function P.unwatch() P.on_error, P.end_of_file, P.has_ended = nil, nil, nil end

-- what kinds of layers of which sizes a network has: calls that differ in this give different networks
local function described(module)
   local parts = {}
   for _, layer in ipairs(module:listModules()) do
      parts[#parts + 1] = P.typename(layer) or '?'
      for _, name in ipairs{'weight', 'bias'} do
         local held = rawget(layer, name)
         if not P.is_unknown(held) and P.torch.isTensor(held) then parts[#parts + 1] = concat(held:size():totable(), 'x') end
      end
   end
   return concat(parts, ' ')
end
-- name -> {count of different networks, where it was called first}
P.got, P.got_names = {}, {}
local function captured(name, place, where, module)
   if place > 1 then name = name .. ' (result ' .. place .. ')' end
   if wanted == name and not P.wanted_value then
      P.wanted_value = module
      error(ended, 0)
   end
   local got = P.got[name]
   if not got then
      got = {where = where, kinds = {}, count = 0}
      P.got[name] = got
      P.got_names[#P.got_names + 1] = name
   end
   local kind = described(module)
   if not got.kinds[kind] then
      got.kinds[kind] = true
      got.count = got.count + 1
   end
end

-- functions of the watched file say which networks they give; those that they call among themselves do not
local depth = 0
local originals = setmetatable({}, {__mode = 'k'})
local function kept(name, where, ok, ...)
   depth = depth - 1
   if not ok then error((...), 0) end
   if depth == 0 then
      for place = 1, select('#', ...) do
         local value = (select(place, ...))
         if P.is_a(value, 'nn.Module') then captured(name, place, where, value) end
         if type(value) == 'table' and not P.typename(value) then
            for key, held in next, value do
               if type(key) == 'string' and P.is_a(held, 'nn.Module') then captured(name .. '.' .. key, place, where, held) end
            end
         end
      end
   end
   return ...
end
local function saying(name, f)
   local function outer(...)
      depth = depth + 1
      return kept(name, P.where(), P.protected(f, ...))
   end
   originals[outer] = f
   return outer
end
function P.original(f) return originals[f] or f end

function P.watched_results(before, first, ...)
   for name, value in next, _G do
      if not before[name] and type(value) == 'function' and type(name) == 'string' then _G[name] = saying(name, value) end
   end
   if type(first) == 'function' then first = saying('model', first) end
   if type(first) == 'table' and not P.typename(first) then
      for name, value in next, first do
         if type(value) == 'function' and type(name) == 'string' then first[name] = saying('model.' .. name, value) end
      end
   end
   if P.is_a(first, 'nn.Module') then captured('model', 1, '', first) end
   P.watched_value = first
   return first, ...
end

-- an expression with the variables of a file's main part
function P.with_scope(f, file)
   local scope = scopes[file]
   local values = scope and scope.values or {}
   return setfenv(f, setmetatable({}, {
      __index = function(_, name)
         if values[name] ~= nil then return values[name] end
         return rawget(_G, name)
      end,
      __newindex = _G,
   }))
end
