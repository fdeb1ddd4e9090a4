-- Layers that take numbers from one shape to another.
local P = ...
local class = P.nn_class
local type, select, ipairs, error = type, select, ipairs, error

class('Reshape', nil, function(self, ...)
   local given = {...}
   local n = select('#', ...)
   if torch.type(given[1]) == 'torch.LongStorage' then
      self.size, self.batchMode = given[1], given[2]
   else
      if type(given[n]) == 'boolean' then
         self.batchMode = given[n]
         n = n - 1
      end
      self.size = torch.LongStorage(n)
      for i = 1, n do self.size[i] = given[i] end
   end
   self.nelement = 1
   self.batchsize = torch.LongStorage(#self.size + 1)
   self.batchsize[1] = 0
   for i = 1, #self.size do
      self.nelement = self.nelement * self.size[i]
      self.batchsize[i + 1] = self.size[i]
   end
end)
local View = class('View', nil)
function View:__init(...)
   P.module_fields(self)
   self:resetSize(...)
   self.numInputDims = nil
end
function View:resetSize(...)
   local given = {...}
   self.size = torch.type(given[1]) == 'torch.LongStorage' and given[1] or torch.LongStorage(given)
   self.numElements = 1
   local inferred = false
   for i = 1, #self.size do
      local extent = self.size[i]
      if extent >= 0 then
         self.numElements = self.numElements * extent
      else
         if extent ~= -1 then error(P.where() .. 'size should be positive or -1', 0) end
         if inferred then error(P.where() .. 'only one dimension can be at -1', 0) end
         inferred = true
      end
   end
   return self
end
function View:setNumInputDims(count)
   self.numInputDims = count
   return self
end
class('Transpose', nil, function(self, ...)
   self.permutations = {...}
   self.numInputDims = nil
end).setNumInputDims = View.setNumInputDims
class('Replicate', nil, function(self, count, dimension, dimensions)
   self.nfeatures, self.dim, self.ndim = count, dimension or 1, dimensions
   if not (self.dim > 0 or dimension == -1) then error(P.where() .. 'Can only replicate across positive integer dimensions.', 0) end
end)
class('Select', nil, function(self, dimension, index) self.dimension, self.index = dimension, index end)
class('Narrow', nil, function(self, dimension, offset, length)
   self.dimension, self.index, self.length = dimension, offset, length or 1
   if not dimension or not offset then error(P.where() .. 'nn.Narrow(dimension, offset, length)', 0) end
end)
class('Index', nil, function(self, dimension)
   self.dimension = dimension
   self.gradInput = {torch.Tensor(), torch.Tensor()}
end)
class('Squeeze', nil, function(self, dimension, dimensions)
   self.dim = dimension
   if dimensions then self:setNumInputDims(dimensions) end
end).setNumInputDims = View.setNumInputDims
class('Unsqueeze', nil, function(self, position, dimensions)
   if not position then error(P.where() .. 'the position to insert singleton dim not specified', 0) end
   self.pos = position
   if dimensions then self:setNumInputDims(dimensions) end
end).setNumInputDims = View.setNumInputDims
class('Padding', nil, function(self, dimension, pad, dimensions, value, index)
   self.value, self.index, self.dim, self.pad, self.nInputDim = value or 0, index or 1, dimension, pad, dimensions
   self.outputSize = torch.LongStorage()
end)
class('Sum', nil, function(self, dimension, dimensions, average, squeeze)
   self.dimension, self.nInputDims = dimension or 1, dimensions
   self.sizeAverage = average or false
   self.squeeze = squeeze == nil and true or squeeze
end)
local Mean = class('Mean', 'Sum')
function Mean:__init(dimension, dimensions, squeeze) nn.Sum.__init(self, dimension, dimensions, true, squeeze) end
for _, name in ipairs{'Max', 'Min'} do
   class(name, nil, function(self, dimension, dimensions)
      self.dimension, self.nInputDims = dimension or 1, dimensions
   end)
end
class('Collapse', nil, function(self, dimensions) self.nInputDim = dimensions end)
class('Constant', nil, function(self, value, dimensions)
   self.value, self.nInputDim = value, dimensions
   if type(value) == 'number' then self.value = torch.Tensor{value} end
   if not torch.isTensor(self.value) then error(P.where() .. 'Expecting number or tensor at arg 1', 0) end
end)
