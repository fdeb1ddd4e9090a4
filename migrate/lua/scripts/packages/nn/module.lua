-- nn.Module and nn.Criterion, and nn.utils as far as definitions use it.
local P = ...
local torch = torch
local rawget, rawset, type, ipairs, error, select, tostring, next = rawget, rawset, type, ipairs, error, select, tostring, next
local is_tensor, is_storage, pointer = torch.isTensor, torch.isStorage, torch.pointer

local Module = torch.class('nn.Module')
Module.__init = P.module_fields

-- a backward pass leaves nothing in a network that says what it computes; its result may not be used
function Module:backward() return P.swallowed('a gradient') end
for _, name in ipairs{'updateGradInput', 'accGradParameters', 'accUpdateGradParameters',
                      'sharedAccUpdateGradParameters', 'backwardUpdate', 'updateParameters'} do
   Module[name] = function(self)
      error(P.where() .. torch.type(self) .. ':' .. name .. ' is not there for a definition: no layer is run while a model is built', 0)
   end
end

-- Some files run what they build, to learn a size. The product's converters compute that, in evaluation.
function Module:updateOutput(input)
   self.output = P.computed(self, input)
   return self.output
end
function Module:forward(input) return self:updateOutput(input) end

function Module:parameters()
   if self.weight and self.bias then return {self.weight, self.bias}, {self.gradWeight, self.gradBias} end
   if self.weight then return {self.weight}, {self.gradWeight} end
   if self.bias then return {self.bias}, {self.gradBias} end
end

function Module:zeroGradParameters()
   local _, gradients = self:parameters()
   for _, gradient in ipairs(gradients or {}) do gradient:zero() end
end

function Module:training() self.train = true end
function Module:evaluate() self.train = false end
function Module:reset() end

-- x:share(other, 'weight', …): the tensors of that name become views of the other's
function Module:share(other, ...)
   for i = 1, select('#', ...) do
      local name = (select(i, ...))
      if self[name] ~= nil then
         self[name]:set(other[name])
         self.shared, other.shared = true, true
      end
   end
   return self
end

function Module:clone(...)
   local copy = P.copied(self)
   if select('#', ...) > 0 then copy:share(self, ...) end
   return copy
end

-- a value with all tensors in it of another type; storages that are shared stay shared
nn.utils = {}
local function converted(value, typename, cache)
   if torch.type(value) == typename then return value end
   if is_tensor(value) then
      if cache[value] then return cache[value] end
      local made = torch.getmetatable(typename).new()
      local storage = value:storage()
      if storage and value:nElement() > 0 then
         local at = pointer(storage)
         if not cache[at] then
            local flat = value.new():set(storage)
            cache[at] = torch.getmetatable(typename).new():resize(flat:size()):copy(flat):storage()
         end
         made:set(cache[at], value:storageOffset(), value:size(), value:stride())
      end
      cache[value] = made
      return made
   end
   if torch.typename(value) and type(value) == 'table' and value.type then
      value:type(typename, cache)
   elseif type(value) == 'table' then
      if cache[value] then return value end
      cache[value] = true
      for k, v in P.raw_pairs(value) do value[k] = converted(v, typename, cache) end
   end
   return value
end
function nn.utils.recursiveType(value, typename, cache) return converted(value, typename, cache or {}) end

function Module:type(typename, cache)
   if not typename then return self._type end
   if not P.classes[typename] then error(P.where() .. '<' .. tostring(typename) .. '> is no type of tensors', 0) end
   cache = cache or {}
   for k, v in P.raw_pairs(self) do self[k] = converted(v, typename, cache) end
   self._type = typename
   return self
end
for name, kind in P.raw_pairs{float = 'Float', double = 'Double', cuda = 'Cuda', half = 'Half', cudaDouble = 'CudaDouble',
                               cudaHalf = 'CudaHalf', long = 'Long', int = 'Int', byte = 'Byte'} do
   Module[name] = function(self) return self:type('torch.' .. kind .. 'Tensor') end
end

local function cleared(value)
   if is_tensor(value) then return value:set() end
   if type(value) == 'table' then return {} end
   return nil
end
function nn.utils.clear(self, ...)
   local names = {...}
   if type(names[1]) == 'table' then names = names[1] end
   for _, name in ipairs(names) do
      if self[name] ~= nil then self[name] = cleared(self[name]) end
   end
   return self
end
function Module:clearState() return nn.utils.clear(self, 'output', 'gradInput') end

function Module:apply(callback)
   callback(self)
   if self.modules then
      for _, module in ipairs(self.modules) do module:apply(callback) end
   end
end

function Module:replace(callback)
   local made = callback(self)
   P.is_changing(self)
   if self.modules then
      for i, module in ipairs(self.modules) do self.modules[i] = module:replace(callback) end
   end
   return made
end

function Module:findModules(typename, container)
   local found, holders = {}, {}
   container = container or self
   if torch.type(self) == typename then
      found[1], holders[1] = self, container
   end
   if type(self.modules) == 'table' then
      for i = 1, #self.modules do
         local below, of = self.modules[i]:findModules(typename, self)
         for k = 1, #below do
            found[#found + 1], holders[#holders + 1] = below[k], of[k]
         end
      end
   end
   return found, holders
end

function Module:listModules()
   local list = {self}
   for _, module in ipairs(self.modules or {}) do
      local below = module:listModules()
      for i = 1, #below do list[#list + 1] = below[i] end
   end
   return list
end

-- the parameters as views of one vector, storage after storage in the order in which they are met, without holes
local function flattened(tensors)
   if not tensors or #tensors == 0 then return torch.Tensor() end
   local new, starts, order, total = tensors[1].new, {}, {}, 0
   for _, tensor in ipairs(tensors) do
      local storage = tensor:storage()
      local at = pointer(storage)
      if not starts[at] then
         starts[at] = total
         order[#order + 1] = storage
         total = total + storage:size()
      end
   end
   local used = new(total):zero()
   local function view(of, tensor)
      local start = starts[pointer(tensor:storage())]
      return new():set(of:storage(), start + tensor:storageOffset(), tensor:size(), tensor:stride())
   end
   for _, tensor in ipairs(tensors) do view(used, tensor):fill(1) end
   local whole = new(total)
   for _, storage in ipairs(order) do
      local start = starts[pointer(storage)]
      whole:narrow(1, start + 1, storage:size()):copy(new():set(storage))
   end
   local count = used:sum()
   local places
   if count ~= total then
      local mask = used:byte()
      places = used:long():cumsum(1)
      whole = whole:maskedSelect(mask)
   end
   local offsets = {}
   for i, tensor in ipairs(tensors) do
      local at = starts[pointer(tensor:storage())] + tensor:storageOffset()
      offsets[i] = places and places[at] or at
   end
   for i, tensor in ipairs(tensors) do
      tensor:set(whole:storage(), offsets[i], tensor:size(), tensor:stride())
   end
   return whole
end

function Module:getParameters()
   local parameters, gradients = self:parameters()
   local p, g = flattened(parameters), flattened(gradients)
   if p:nElement() ~= g:nElement() then error(P.where() .. 'check that you are sharing parameters and gradParameters', 0) end
   return p, g
end
Module.flatten = flattened

function Module:__call__(...) return self:forward(...) end
function Module:__tostring__() return torch.type(self) end

local Criterion = torch.class('nn.Criterion')
function Criterion:__init()
   self.gradInput = torch.Tensor()
   self.output = 0
end
function Criterion:forward() return P.swallowed('a loss') end
Criterion.backward, Criterion.updateGradInput = Criterion.forward, Criterion.forward
Criterion.updateOutput = Criterion.forward
for _, name in ipairs{'clone', 'float', 'double', 'cuda'} do Criterion[name] = Module[name] end
function Criterion:type(typename, cache)
   if not typename then return self._type end
   return Module.type(self, typename, cache)
end
Criterion.__call__ = Module.__call__
