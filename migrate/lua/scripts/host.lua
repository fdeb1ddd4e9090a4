-- What Python asks: how a value is made up, and what the author's expression gives.
local P = ...
local type, next, error, rawget, rawset, setmetatable, ipairs = type, next, error, rawget, rawset, setmetatable, ipairs
local H = {}
function H.kind(value)
   local kind = type(value)
   if kind == 'userdata' then
      local handle = P.payload[value]
      return handle and 'tensor' or 'absent', handle or nil
   end
   if kind == 'table' then
      local class = P.typename(value)
      return class and 'object' or 'table', class
   end
   return kind
end
-- WeightNorm leaves out of a file what follows from its v and g, its module's as well
local unwritten, derived = setmetatable({}, {__mode = 'k'}), {weight = true, gradWeight = true}
function H.entries(t)
   if P.typename(t) == 'nn.WeightNorm' then unwritten[t], unwritten[t.modules[1]] = derived, derived end
   local left_out = unwritten[t] or {}
   local keys, values, n = {}, {}, 0
   for k, v in next, t do
      if not left_out[k] then
         n = n + 1
         keys[n], values[n] = k, v
      end
   end
   return keys, values, n
end
function H.identity(value) return P.torch.pointer(value) end
function H.wrap(handle) return P.wrap(handle) end
-- an object of a class by its name, without fields, and a field as a file gives it
function H.object(name)
   local class, make = P.classes[name], P.makers and P.makers[name]
   local made = make and make() or class and setmetatable({}, class) or nil
   if made then P.torch.pointer(made) end      -- numbered as they are made, as by constructors
   return made
end
-- a class that is there, or one that only the converters know
function H.has_class(name) return P.classes[name] ~= nil end
function H.stand_in(name) P.stand_in(name) end
function H.layers() P.run_package('layers') end
function H.is_authors(object, name) return P.is_authors(object, name) end
function H.read(object, version, parts) return P.read(object, version, parts) end
function H.unread_function() return P.unread_function() end
function H.begin() P.begin() end
function H.reference(files, arguments) P.reference(files, arguments) end
function H.saved() return P.saved end
function H.get(object, name) return object[name] end
function H.is_class(name) return P.classes[name] ~= nil end
function H.put(table_, key, value) rawset(table_, key, value) end
function H.compile(text, name) return P.compile(text, name) end
function H.replaced_method() return P.replaced_method() end
function H.run_text(f) return P.run_text(f) end
function H.set_global(name, value) rawset(_G, name, value) end
-- functions and networks that the author's files left in globals, and what is in a table that a file returned
local at_first = {}
function H.remember_globals()
   for name in next, _G do at_first[name] = true end
end
-- the names of a function's parameters, as its file has them
local function parameters_of(f)
   local at = P.getinfo(f, 'S')
   local line = 0
   if string.sub(at.source, 1, 1) == '@' then
      for text in string.gmatch(P.bridge.source(string.sub(at.source, 2)) .. '\n', '([^\n]*)\n') do
         line = line + 1
         if line == at.linedefined then return string.match(text, 'function[^(]*%(([^)]*)%)') or 'opt' end
      end
   end
   return 'opt'
end
function H.candidates(returned)
   local found = {}
   local function note(name, value)
      if type(name) ~= 'string' then return end
      if type(value) == 'function' then found[#found + 1] = name .. '(' .. parameters_of(value) .. ')' end
      if P.is_a(value, 'nn.Module') then found[#found + 1] = name end
   end
   for name, value in next, _G do
      if not at_first[name] then note(name, value) end
   end
   if type(returned) == 'function' then found[#found + 1] = 'model(' .. parameters_of(returned) .. ')' end
   if type(returned) == 'table' and not P.typename(returned) then
      for name, value in next, returned do
         if type(name) == 'string' then note('model.' .. name, value) end
      end
   end
   table.sort(found)
   return found, #found
end
function H.get_global(name) return rawget(_G, name) end
function H.run_file(name) return P.run_file(P.located(name)) end
function H.require(name) return require(name) end
function H.call(object, name, ...) return object[name](object, ...) end
function H.is_a(value, class) return P.is_a(value, class) end
-- the running statistics of batch normalizations, in the order of listModules()
function H.statistics(model)
   local pairs_of = {}
   for _, m in ipairs(model:listModules()) do
      if P.torch.isTensor(rawget(m, 'running_mean')) then
         pairs_of[#pairs_of + 1] = {m.running_mean, rawget(m, 'running_var')}
      end
   end
   return pairs_of
end
return H
