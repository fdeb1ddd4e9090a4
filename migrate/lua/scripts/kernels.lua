-- The functions in C that Torch7's own Lua of nn calls, where PyTorch computes them: input.THNN.Linear_updateOutput(…).
local P = ...
local torch, bridge = P.torch, P.bridge
local error, select, tostring, unpack, setmetatable = error, select, tostring, unpack, setmetatable
local rawset, match = rawset, string.match

local names, functions = bridge.names('kernel'), {}
for i = 1, #names do
   local run = P.operation('kernel', names[i])
   functions[names[i]] = function(...)
      local n, arguments = select('#', ...), {...}
      for k = 1, n do
         if P.is_unknown(arguments[k]) then arguments[k] = nil end      -- a generator in C
      end
      run(unpack(arguments, 1, n))
   end
end
setmetatable(functions, {__index = function(_, name)
   error(P.where() .. 'the function ' .. tostring(name) .. ' in C has no kernel of PyTorch here', 0)
end})

local function itself(value) return value end
P.kernels = {kernels = {}, getState = function() end, optionalTensor = itself}
for name, class in P.raw_pairs(P.classes) do
   if match(name, '^torch%..*Tensor$') or match(name, '^torch%..*Storage$') then class.cdata = itself end
end
-- older functions get the module first: input.nn.X_updateOutput(self, …)
local older = setmetatable({}, {__index = function(_, name)
   local run = functions[name]
   return function(_, ...) return run(...) end
end})
for _, name in P.raw_pairs{'torch.FloatTensor', 'torch.DoubleTensor'} do
   P.classes[name].THNN = functions
   P.classes[name].nn = older
   P.kernels.kernels[name] = functions
end
function P.kernels.runKernel(name, kind, ...)
   local of_kind = P.kernels.kernels[kind] or error('Unsupported tensor type: ' .. tostring(kind), 2)
   of_kind[name](...)
end

-- classes by another maker than their own, as torch.load asks for them
local makers = {}
function torch.newmetatable(name, _, _, _, make)
   P.register(name)
   makers[name] = make
end
function torch.factory(name)
   local class = P.classes[name]
   return makers[name] or class and function() return setmetatable({}, class) end
end
P.makers = makers

-- an object of a file reads itself where its class says how; parts are what follows its name there
function P.read(object, version, parts)
   local class = P.metatable_of(object)
   local read = class.__read or class.read
   if not read then return end
   local own, at = {}, 0
   for k, v in P.raw_pairs(object) do own[k] = v end
   parts[#parts + 1] = own
   local file = {}
   function file.readObject()
      at = at + 1
      return parts[at]
   end
   read(object, file, version)
end
function P.unread_function()
   return function() error(P.where() .. 'the file holds this function of Lua, whose bytecode is not run', 0) end
end

-- no C is called: of its types there are none, and its libraries are not found
rawset(package.loaded, 'ffi', {
   os = 'Linux', cdef = function() end, typeof = function() return function() return {} end end,
   load = function(name) error(P.where() .. 'ffi.load is closed: ' .. tostring(name), 0) end,
})

-- nn's containers take its first lines off
function debug.traceback(message)
   return (message == nil and '' or tostring(message) .. '\n') .. 'stack traceback:\n\t(not kept)\n'
end
