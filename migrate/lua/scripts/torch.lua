-- The functions of torch that need no numbers of Python's: default types, CmdLine, Timer, copies of objects.
local P = ...
P.in_package = true
local torch, bridge = P.torch, P.bridge
local type, select, setmetatable, error, tostring, tonumber, ipairs = type, select, setmetatable, error, tostring, tonumber, ipairs
local gsub, match, rep, concat, rawget = string.gsub, string.match, string.rep, table.concat, rawget

local names = bridge.names('function')
for i = 1, #names do
   if string.sub(names[i], 1, 2) ~= '__' and names[i] ~= 'pointer_of' then
      torch[names[i]] = P.operation('function', names[i])
   end
end
P.pointer = P.operation('function', 'pointer_of')
for name, class in pairs(P.classes) do
   if match(name, 'Tensor$') then class.isTensor = torch.isTensor end
   class.isTypeOf = nil
end

local default = 'torch.DoubleTensor'
function torch.setdefaulttensortype(name)
   local class = P.classes[name]
   if not class or not match(name, 'Tensor$') then
      error('<' .. tostring(name) .. '> is not a string describing a torch object', 2)
   end
   default = name
   bridge.set_default(name)
   torch.Tensor = torch.getconstructortable(name)
   torch.Storage = torch.getconstructortable((gsub(name, 'Tensor$', 'Storage')))
end
function torch.getdefaulttensortype() return default end
torch.setdefaulttensortype(default)

function torch.setnumthreads() end
function torch.getnumthreads() return 1 end
function torch.setheaptracking() end
function torch.isatty() return false end
function torch.Generator() return {} end

for _, name in ipairs{'save', 'serialize', 'deserialize', 'DiskFile', 'PipeFile'} do
   torch[name] = function() error('torch.' .. name .. ' is not there for a definition: it reads and writes no files', 2) end
end
function torch.load(name)
   error('torch.load(' .. tostring(name) .. ') is not there for a definition: it reads no .t7 files', 2)
end

do
   local Timer = torch.class('torch.Timer')
   function Timer:__init() end
   function Timer:time() return {real = 0, user = 0, sys = 0} end
   for _, name in ipairs{'reset', 'stop', 'resume'} do Timer[name] = function(self) return self end end
end

-- A copy of everything below a value, as going through a file makes it: what is shared stays shared.
local next_, metatable_of = next, P.metatable_of
local copied_storage = P.operation('function', '__copied_storage')
local function copied(value, seen)
   local kind = type(value)
   if kind == 'userdata' then
      if not P.typename(value) then return value end
      if seen[value] then return seen[value] end
      local copy
      if torch.isStorage(value) then
         local at = torch.pointer(value)
         copy = seen[at] or copied_storage(value)
         seen[at] = copy
      else
         copy = value.new()
         local storage = value:storage()
         if storage and value:nElement() > 0 then
            copy:set(copied(storage, seen), value:storageOffset(), value:size(), value:stride())
         end
      end
      seen[value] = copy
      return copy
   end
   if kind ~= 'table' then return value end
   if seen[value] then return seen[value] end
   local copy = {}
   seen[value] = copy
   for k, v in next_, value do copy[copied(k, seen)] = copied(v, seen) end
   return setmetatable(copy, metatable_of(value))
end
P.copied = function(value) return copied(value, {}) end

do
   local File = torch.class('torch.MemoryFile')
   function File:__init() self.objects, self.at = {}, 1 end
   function File:writeObject(value) self.objects[#self.objects + 1] = P.copied(value) return self end
   function File:readObject()
      local value = self.objects[self.at]
      self.at = self.at + 1
      return P.copied(value)
   end
   function File:seek() self.at = 1 return self end
   for _, name in ipairs{'binary', 'ascii', 'close', 'longSize', 'noBuffer', 'quiet'} do
      File[name] = function(self) return self end
   end
end

-- torch.CmdLine: options with defaults, of the types of their defaults
local CmdLine = torch.class('torch.CmdLine')
function CmdLine:__init() self.options, self.order, self.arguments = {}, {}, {} end
local function bare(name) return (gsub(name, '^%-+', '')) end
function CmdLine:option(name, default_value)
   if type(name) ~= 'string' then error('bad argument to option: a string expected', 2) end
   self.options[bare(name)] = {default = default_value}
   self.order[#self.order + 1] = bare(name)
end
function CmdLine:argument(name) self.arguments[#self.arguments + 1] = bare(name) end
local function as(default_value, text, name)
   local kind = type(default_value)
   if kind == 'number' then
      return tonumber(text) or error('invalid argument for option -' .. name .. ': ' .. tostring(text), 0)
   end
   return text
end
function CmdLine:parse(arguments)
   local params, at, position = {}, 1, 0
   for _, name in ipairs(self.order) do params[name] = self.options[name].default end
   arguments = arguments or {}
   while at <= #arguments do
      local text = tostring(arguments[at])
      local name = match(text, '^%-+([%a_].*)$')
      local option = name and self.options[name]
      if option then
         if type(option.default) == 'boolean' then
            params[name] = not option.default
            at = at + 1
         else
            if arguments[at + 1] == nil then error('missing argument for option -' .. name, 2) end
            params[name] = as(option.default, tostring(arguments[at + 1]), name)
            at = at + 2
         end
      else
         position = position + 1
         if name or not self.arguments[position] then error('invalid argument: ' .. text, 2) end
         params[self.arguments[position]] = text
         at = at + 1
      end
   end
   return params
end
function CmdLine:string(prefix) return prefix or 'run' end
for _, name in ipairs{'text', 'log', 'help', 'silent', 'addTime'} do CmdLine[name] = function() end end
P.in_package = false
