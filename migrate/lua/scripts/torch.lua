-- The functions of torch that need no numbers of Python's: default types, CmdLine, Timer, copies of objects.
local P = ...
P.in_package = true
local torch, bridge = P.torch, P.bridge
local type, select, setmetatable, error, tostring, tonumber, ipairs = type, select, setmetatable, error, tostring, tonumber, ipairs
local gsub, match, rep, concat, rawget = string.gsub, string.match, string.rep, table.concat, rawget
local pcall, unpack = pcall, unpack

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

-- generators of random numbers beside torch's own, given as the first argument
do
   local Generator = torch.class('torch.Generator')
   local use, count, typename = P.operation('function', '__generator'), 0, P.typename
   function Generator:__init()
      count = count + 1
      self.number = count
   end
   local function given(ok, ...)
      use(0)
      if not ok then error((...), 0) end
      return ...
   end
   local function with_generator(draw, place)
      return function(...)
         local generator = select(place, ...)
         if typename(generator) ~= 'torch.Generator' then return draw(...) end
         local arguments, n = {...}, select('#', ...)
         for i = place, n do arguments[i] = arguments[i + 1] end
         use(generator.number)
         return given(pcall(draw, unpack(arguments, 1, n - 1)))
      end
   end
   for _, name in ipairs{'random', 'uniform', 'normal', 'exponential', 'cauchy', 'logNormal', 'geometric', 'bernoulli', 'rand', 'randn',
                         'randperm', 'multinomial', 'manualSeed', 'seed', 'initialSeed', 'getRNGState', 'setRNGState'} do
      torch[name] = with_generator(torch[name], 1)
      for kind, class in pairs(P.classes) do
         if match(kind, 'Tensor$') and class[name] then class[name] = with_generator(class[name], 2) end
      end
   end
end

-- where a storage lies: something to tell storages apart by, and nothing to read
do
   local places = {}
   for name, class in pairs(P.classes) do
      if match(name, 'Storage$') then
         class.data = function(self)
            local at = torch.pointer(self)
            places[at] = places[at] or P.newproxy()
            return places[at]
         end
      end
   end
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

function torch.tic() return 0 end
function torch.toc() return 0 end
function torch.setnumthreads() end
function torch.getnumthreads() return 1 end
function torch.setheaptracking() end
function torch.isatty() return false end

function torch.save(name)
   bridge.write('torch.save wrote nothing: ' .. tostring(name) .. '\n')
end
torch.serialize = function() error('torch.serialize is not there for a definition: it reads and writes no files', 2) end
for _, name in ipairs{'deserialize', 'DiskFile', 'PipeFile'} do
   torch[name] = function(what)
      if P.computes then error('torch.' .. name .. ' is not there: nothing reads or writes files', 2) end
      return P.not_known('torch.' .. name .. '(' .. tostring(what) .. ')')
   end
end
function torch.load(name)
   if type(name) ~= 'string' then error('bad argument #1 to \'load\' (string expected, got ' .. type(name) .. ')', 2) end
   local ok, value = bridge.load(not P.computes and P.in_places(name) or name)
   if not ok and string.find(value, '^no file ') and not P.computes then return P.not_known('the file ' .. name) end
   if not ok then error(P.where() .. value, 0) end
   return value
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
   local held = setmetatable({}, {__mode = 'k'})      -- a storage that stands for the bytes -> what was written
   function File:__init(storage) self.objects, self.at = held[storage or self] or {}, 1 end
   function File:storage()
      local bytes = torch.CharStorage(1)
      held[bytes] = self.objects
      return bytes
   end
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

-- torch.CmdLine: options with defaults, by the very names under which they were defined; what does not fit is an error
local CmdLine = torch.class('torch.CmdLine')
function CmdLine:__init() self.options, self.order, self.arguments = {}, {}, {} end
local function bare(name) return match(name, '%-*(.*)') end
local function refused(message) error(P.where() .. message, 0) end
function CmdLine:option(name, default_value, help, kind)
   if default_value == nil then refused('option ' .. tostring(name) .. ' has no default value') end
   kind = kind or type(default_value)
   if type(default_value) ~= kind then refused('option ' .. name .. ' has wrong default type value') end
   local told = P.told(bare(name), kind, default_value)
   if told ~= nil then default_value = told end
   if not self.options[name] then self.order[#self.order + 1] = name end
   self.options[name] = {default = default_value, kind = kind}
end
function CmdLine:argument(name, help, kind) self.arguments[#self.arguments + 1] = {name = name, kind = kind} end
function CmdLine:default()
   local params = {}
   for _, name in ipairs(self.order) do params[bare(name)] = self.options[name].default end
   return params
end
local function as(option, text, name)
   if text == nil then refused('missing argument for option ' .. name) end
   if option.kind == 'string' then return text end
   if option.kind ~= 'number' then refused('unknown required option type ' .. option.kind) end
   return tonumber(text) or refused('invalid type for option ' .. name .. ' (should be number)')
end
function CmdLine:parse(arguments)
   local params, at, position = self:default(), 1, 0
   while at <= #arguments do
      local text = arguments[at]
      local option = self.options[text]
      if option and option.kind == 'boolean' then
         params[bare(text)] = not option.default
         at = at + 1
      elseif option then
         params[bare(text)] = as(option, arguments[at + 1], text)
         at = at + 2
      else
         position = position + 1
         local argument = self.arguments[position] or refused('invalid argument: ' .. tostring(text))
         if argument.kind and type(text) ~= argument.kind then
            refused('invalid argument type for argument ' .. argument.name .. ' (should be ' .. argument.kind .. ')')
         end
         params[bare(argument.name)] = text
         at = at + 1
      end
   end
   if position ~= #self.arguments then refused('not enough arguments') end
   return params
end
-- a name for a run from what differs from the defaults
function CmdLine:string(prefix, params, ignored)
   local names, parts = {}, {prefix}
   for name in P.raw_pairs(params) do names[#names + 1] = name end
   table.sort(names)
   for _, name in ipairs(names) do
      local option, value = self.options['-' .. name], params[name]
      local argument
      for _, known in ipairs(self.arguments) do argument = argument or bare(known.name) == name end
      if not ignored[name] and (argument or option and option.default ~= value) then
         parts[#parts + 1] = name .. '=' .. (type(value) == 'boolean' and (value and 't' or 'f') or tostring(value))
      end
   end
   return concat(parts, ',')
end
function CmdLine:error(message) refused(tostring(message)) end
for _, name in ipairs{'text', 'log', 'help', 'silent', 'addTime'} do CmdLine[name] = function() end end
P.in_package = false
