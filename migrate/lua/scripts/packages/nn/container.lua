-- Containers.
local P = ...
local class = P.nn_class
local ipairs, error, type, select, tostring, concat = ipairs, error, type, select, tostring, table.concat

local Container = class('Container', nil, function(self) self.modules = {} end)

function Container:add(module)
   P.is_changing(self, module)
   self.modules[#self.modules + 1] = module
   return self
end
function Container:get(index) return self.modules[index] end
function Container:size() return #self.modules end
function Container:applyToModules(f)
   for _, module in ipairs(self.modules) do f(module) end
end
local function passed_on(name)
   local of_module = nn.Module[name]
   Container[name] = function(self, ...)
      for _, module in ipairs(self.modules) do module[name](module, ...) end
      return of_module(self, ...)
   end
end
for _, name in ipairs{'training', 'evaluate'} do passed_on(name) end
function Container:zeroGradParameters()
   for _, module in ipairs(self.modules) do module:zeroGradParameters() end
end
function Container:reset(deviation)
   for _, module in ipairs(self.modules) do module:reset(deviation) end
end
function Container:share(other, ...)
   for i, module in ipairs(self.modules) do module:share(other.modules[i], ...) end
   return self
end
function Container:parameters()
   local parameters, gradients = {}, {}
   for _, module in ipairs(self.modules) do
      local p, g = module:parameters()
      for i = 1, #(p or {}) do parameters[#parameters + 1] = p[i] end
      for i = 1, #(g or {}) do gradients[#gradients + 1] = g[i] end
   end
   return parameters, gradients
end
function Container:clearState()
   for _, name in ipairs{'output', 'gradInput'} do
      local value = self[name]
      if torch.isTensor(value) then
         self[name] = value.new()
      elseif type(value) == 'table' then
         self[name] = {}
      end
   end
   for _, module in ipairs(self.modules) do module:clearState() end
   return self
end
local function indented(module)
   return (tostring(module):gsub('\n', '\n  '))
end
-- not of all containers: that of an author's class is its name
local function listed(self)
   local lines = {torch.type(self) .. ' {'}
   for i, module in ipairs(self.modules) do lines[#lines + 1] = '  (' .. i .. '): ' .. indented(module) end
   lines[#lines + 1] = '}'
   return concat(lines, '\n')
end

local Sequential = class('Sequential', 'Container')
function Sequential:__len() return #self.modules end
Sequential.__len__ = Sequential.__len
function Sequential:add(module)
   P.is_changing(self, module)
   if #self.modules == 0 then self.gradInput = module.gradInput end
   self.modules[#self.modules + 1] = module
   self.output = module.output
   return self
end
local function ends(self)
   local last, first = self.modules[#self.modules], self.modules[1]
   if last then
      self.output, self.gradInput = last.output, first.gradInput
   else
      self.output, self.gradInput = torch.Tensor(), torch.Tensor()
   end
end
function Sequential:insert(module, index)
   P.is_changing(self, module)
   index = index or #self.modules + 1
   if index > #self.modules + 1 or index < 1 then error(P.where() .. 'index should be contiguous to existing modules', 0) end
   table.insert(self.modules, index, module)
   ends(self)
end
function Sequential:remove(index)
   P.is_changing(self)
   index = index or #self.modules
   if index > #self.modules or index < 1 then error(P.where() .. 'index out of range', 0) end
   local module = table.remove(self.modules, index)
   ends(self)
   return module
end
function Sequential:__tostring__()
   local path, lines = {'input'}, {}
   for i, module in ipairs(self.modules) do
      path[#path + 1] = '(' .. i .. ')'
      lines[i] = '  (' .. i .. '): ' .. indented(module)
   end
   path[#path + 1] = 'output'
   return 'nn.Sequential {\n  [' .. concat(path, ' -> ') .. ']\n' .. concat(lines, '\n') .. '\n}'
end

local function container(name, init, parent)
   return class(name, parent or 'Container', function(self, ...)
      self.modules = {}
      init(self, ...)
   end)
end
local function of_dimension(self, dimension)
   self.outputSize = torch.LongStorage()
   self.dimension = dimension
end
container('Concat', of_dimension)
container('DepthConcat', of_dimension, 'Concat')
local function of_tables(self)
   self.output, self.gradInput = {}, {}
end
container('ConcatTable', of_tables).__init = function(self)
   nn.Container.__init(self)
   self.output = {}
end
container('ParallelTable', of_tables)
container('Parallel', function(self, input, output)
   self.inputDimension, self.outputDimension = input, output
end)

local MapTable = container('MapTable', function(self, module, shared)
   self.shared = shared == nil and true or shared
   self.sharedparams = {'weight', 'bias', 'gradWeight', 'gradBias'}
   self.output, self.gradInput = {}, {}
   if module then self:add(module) end
end)
for _, name in ipairs{'Concat', 'ConcatTable', 'ParallelTable', 'Parallel', 'MapTable'} do nn[name].__tostring__ = listed end
function MapTable:add(module)
   P.is_changing(self, module)
   if self.module then error(P.where() .. 'Single module required', 0) end
   self.module = module
   self.modules[1] = module
   return self
end

local Bottle = container('Bottle', function(self, module, inputs, outputs)
   self.nInputDim = inputs or 2
   self.nOutputDim = outputs or self.nInputDim
   self.dimDelta = self.nInputDim - self.nOutputDim
   self.inShape, self.outShape = torch.Tensor(self.nInputDim):zero(), torch.Tensor(self.nOutputDim):zero()
   self.modules[1] = module
end)

