-- Layers that take or give tables.
local P = ...
local class = P.nn_class
local ipairs, error, type = ipairs, error, type

class('CAddTable', nil, function(self, in_place)
   self.inplace = in_place
   self.gradInput = {}
end)
for _, name in ipairs{'CSubTable', 'CMulTable', 'CDivTable', 'FlattenTable'} do
   class(name, nil, function(self) self.gradInput = {} end)
end
nn.FlattenTable.__init = function(self)
   P.module_fields(self)
   self.output, self.input_map, self.gradInput = {}, {}, {}
end
class('CMaxTable', nil, function(self)
   self.gradInput = {}
   self.maxIdx, self.mask, self.maxVals, self.gradMaxVals = torch.Tensor(), torch.Tensor(), torch.Tensor(), torch.Tensor()
end)
class('CMinTable', nil, function(self)
   self.gradInput = {}
   self.minIdx, self.mask, self.minVals, self.gradMaxVals = torch.Tensor(), torch.Tensor(), torch.Tensor(), torch.Tensor()
end)
class('JoinTable', nil, function(self, dimension, dimensions)
   self.size = torch.LongStorage()
   self.dimension, self.gradInput, self.nInputDims = dimension, {}, dimensions
end)
class('SplitTable', nil, function(self, dimension, dimensions)
   self.dimension, self.nInputDims = dimension, dimensions
end)
class('SelectTable', nil, function(self, index)
   self.index, self.gradInput = index, {}
end)
class('NarrowTable', nil, function(self, offset, length)
   self.offset, self.length = offset, length or 1
   if not offset then error(P.where() .. 'nn.NarrowTable(offset, length)', 0) end
   self.output, self.gradInput = {}, {}
end)
class('MixtureTable', nil, function(self, dimension)
   self.dim = dimension
   self.size, self.size2 = torch.LongStorage(), torch.LongStorage()
   self.batchSize, self.backwardSetup, self.gradInput = 0, false, {}
end)
class('MM', nil, function(self, first, second)
   self.transA, self.transB = first or false, second or false
   self.gradInput = {torch.Tensor(), torch.Tensor()}
end)
class('MV', nil, function(self, transposed)
   self.trans = transposed or false
   self.gradInput = {torch.Tensor(), torch.Tensor()}
end)
class('DotProduct', nil, function(self) self.gradInput = {torch.Tensor(), torch.Tensor()} end)
class('CosineDistance', nil, function(self) self.gradInput = {torch.Tensor(), torch.Tensor()} end)
class('PairwiseDistance', nil, function(self, norm)
   self.gradInput = {}
   self.diff, self.norm = torch.Tensor(), norm
end)
class('MaskedSelect', nil, function(self)
   self._maskIndices, self._maskIndexBuffer = torch.LongTensor(), torch.LongTensor()
   self._maskIndexBufferCPU = torch.FloatTensor()
   self._gradBuffer, self._gradMask = torch.Tensor(), torch.ByteTensor()
end)
