-- What Python asks: how a value is made up, and what the author's expression gives.
local P = ...
local type, next, error, rawget, rawset, setmetatable, ipairs = type, next, error, rawget, rawset, setmetatable, ipairs
local H = {}
function H.kind(value)
   local kind = type(value)
   if kind == 'userdata' then
      P.flush()
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
function H.inherited_backward(object) return P.inherited_backward(object) end
function H.read(object, version, parts) return P.read(object, version, parts) end
function H.unread_function() return P.unread_function() end
function H.begin() P.begin() end
function H.label(value) return P.label(value) end
-- what stopped statements of scripts, and whether a value stands for what is not there
function H.lost() return P.lost, #P.lost end
function H.is_unknown(value) return P.is_unknown(value) end
function H.has_told(name) return P.has_told[name] == true end
-- statements that need data stop alone; not where the layers are a checkout's, which do not say what they change
-- the options of texts that a script has defined: a name and a default for each number
function H.own_option(number)
   local option = P.own_options[number]
   if option then return option[1], option[2] end
end
function H.go_on() P.goes_on = not P.bridge.torch7_package('nn') end
function H.tell(name, value) P.tell(name, value) end
function H.allow_more() P.allow_more() end
function H.copied(value) return P.copied(value) end
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
-- the names of a function's parameters, as its file has them, and whether it is a method
local function parameters_of(f)
   local at = P.getinfo(P.original(f), 'S')
   local line = 0
   if string.sub(at.source, 1, 1) == '@' then
      for text in string.gmatch(P.bridge.source(string.sub(at.source, 2)) .. '\n', '([^\n]*)\n') do
         line = line + 1
         if line == at.linedefined then
            local method = string.find(text, 'function%s+[%w_.]+:') ~= nil
            return string.match(text, 'function[^(]*%(([^)]*)%)') or 'opt', method
         end
      end
   end
   return 'opt', false
end
function H.candidates(returned, file)
   local found = {}
   -- after a script ran, other files' functions are there as well
   local source = file and '@' .. P.located(file)
   local function note(name, value)
      if type(name) ~= 'string' then return end
      if type(value) == 'function' then
         local parameters, method = parameters_of(value)
         if method then name = string.gsub(name, '%.([^.]*)$', ':%1') end
         found[#found + 1] = name .. '(' .. parameters .. ')'
      end
      if P.is_a(value, 'nn.Module') then found[#found + 1] = name end
   end
   for name, value in next, _G do
      local theirs = source and type(value) == 'function' and P.getinfo(P.original(value), 'S').source ~= source
      if not at_first[name] and name ~= '__end_of_file' and not theirs then note(name, value) end
   end
   if type(returned) == 'function' then found[#found + 1] = 'model(' .. (parameters_of(returned)) .. ')' end
   if type(returned) == 'table' and not P.typename(returned) then
      for name, value in next, returned do
         if type(name) == 'string' then note('model.' .. name, value) end
      end
   end
   table.sort(found)
   return found, #found
end
function H.get_global(name) return rawget(_G, name) end
-- an author's script that is watched: the networks that it holds at its end or where it stopped, and their variables
function H.watch(file, wanted) P.watch(file and P.located(file), wanted) end
function H.unwatch() P.unwatch() end
function H.wanted_value() return P.wanted_value end
-- the functions of the file from which the script got networks: how many different ones, and where it called first
function H.got(number)
   local name = P.got_names[number]
   if name then return name, P.got[name].count, P.got[name].where end
end
function H.returned() return P.watched_value end
-- the author's script; what it returned, which may be a table of functions that read options
local caller_value
function H.run_caller(name) caller_value = (P.run_file(P.located(name))) end
function H.caller_returned() return caller_value end
function H.has_parse() return type(caller_value) == 'table' and type(caller_value.parse) == 'function' end
function H.has_run(file) return P.has_run[P.located(file)] == true end
function H.run_with_scope(f, file) return P.run_text(P.with_scope(f, file)) end
function H.variable(file, name)
   local scope = P.scopes[P.located(file)]
   local value = scope and scope.values[name]
   if value == nil then value = rawget(_G, name) end
   return value
end
-- the file in which a function stands that a script calls by a name such as `nets.create`
function H.source_of(file, name)
   local value
   for part in string.gmatch(name, '[%w_]+') do
      if value == nil then value = H.variable(file, part)
      elseif type(value) == 'table' then value = value[part]
      else return nil end
      if value == nil then return nil end
   end
   if type(value) ~= 'function' then return nil end
   local source = P.getinfo(P.original(value), 'S').source
   return string.sub(source, 1, 1) == '@' and string.sub(source, 2) or nil
end
function H.set_variable(file, name, value)
   local scope = file and P.scopes[P.located(file)]
   if scope and scope.values[name] ~= nil then scope.values[name] = value else rawset(_G, name, value) end
end
-- was a statement that stopped adding to a network, or to a part of it?
function H.not_whole(model)
   for _, module in ipairs(P.is_a(model, 'nn.Module') and model:listModules() or {}) do
      if P.not_whole[module] then return P.lost[#P.lost] end
   end
end
-- the line where a file stopped, nil if it did not; and its variables that hold networks, those of others left out
function H.networks(file)
   local scope = P.scopes[P.located(file)]
   local found, inside = {}, {}
   local function note(name, value)
      if type(name) == 'string' and P.is_a(value, 'nn.Module') then found[#found + 1] = {name, value} end
      if type(name) == 'string' and type(value) == 'table' and not P.typename(value) and value ~= package.loaded and value ~= _G then
         for key, held in next, value do
            if type(key) == 'string' and P.is_a(held, 'nn.Module') then found[#found + 1] = {name .. '.' .. key, held} end
         end
      end
   end
   for _, name in ipairs(scope and scope.names or {}) do note(name, scope.values[name]) end
   local others = {}
   for name, value in next, _G do
      if not at_first[name] and name ~= 'arg' and name ~= '__end_of_file' then others[#others + 1] = name end
   end
   table.sort(others)
   for _, name in ipairs(others) do note(name, _G[name]) end
   -- where statements stopped, what is left of a network that they would have changed is none
   for at = #found, 1, -1 do
      local held = found[at][2]
      if H.not_whole(held) or #P.lost > 0 and P.is_part[held] then table.remove(found, at) end
   end
   for _, each in ipairs(found) do
      local modules = each[2]:listModules()
      for i = 2, #modules do inside[modules[i]] = true end
   end
   local names, parts = {}, {}
   for _, each in ipairs(found) do
      if inside[each[2]] then parts[#parts + 1] = each[1]
      elseif #(each[2]:parameters() or {}) > 0 then
         names[#names + 1] = each[1]
         inside[each[2]] = true      -- the same under another name
      end
   end
   return scope and scope.stopped and scope.line or nil, names, #names, parts, #parts
end
-- the networks in a table that a file returned, those that are parts of others left out
function H.held(returned)
   local names, held, inside = {}, {}, {}
   for name, value in next, type(returned) == 'table' and not P.typename(returned) and returned or {} do
      if type(name) == 'string' and P.is_a(value, 'nn.Module') and #(value:parameters() or {}) > 0 then
         names[#names + 1], held[name] = name, value
      end
   end
   for _, name in ipairs(names) do
      local modules = held[name]:listModules()
      for i = 2, #modules do inside[modules[i]] = true end
   end
   table.sort(names)
   local found = {}
   for _, name in ipairs(names) do
      if not inside[held[name]] then found[#found + 1] = name end
   end
   return found, #found
end
function H.run_file(name) return P.run_file(P.located(name)) end
function H.run_once(name) return P.run_once(name) end
function H.require(name) return require(name) end
function H.call(object, name, ...) return object[name](object, ...) end
function H.is_criterion(value) return P.is_a(value, 'nn.Criterion') end
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
P.lift_functions()
return H
