-- dpnn: written from what Torch7 recorded. Layers that pick actions or draw samples are there to be built.
local P = ...
require 'nn'
require 'nnx'
local class, need = P.nn_class, P.need_number
local error, ipairs, type, select, sqrt = error, ipairs, type, select, math.sqrt
dpnn = {}

-- methods that dpnn gives to all modules
local Module, Container = torch.getmetatable('nn.Module'), torch.getmetatable('nn.Container')
local light = {'output', 'gradInput', 'momGradParams', 'dpnn_input'}
local function serialized(self, names)
   self.dpnn_serialEmpty = names
   for _, module in ipairs(self.modules or {}) do serialized(module, names) end
   return self
end
local function list(...) return {...} end
function Module:mediumSerial() return serialized(self, list(unpack(light))) end
function Module:heavySerial() return serialized(self, {}) end
function Module:lightSerial()
   self.dpnn_serialEmpty = list(unpack(light))
   self.dpnn_serialEmpty[5], self.dpnn_serialEmpty[6] = 'gradWeight', 'gradBias'
   for _, module in ipairs(self.modules or {}) do module:lightSerial() end
   return self
end
Module.dpnn_serialEmpty = {}
function Module:Serial(kind) return nn.Serial(self, kind) end
function Container:extend(...)
   for i = 1, select('#', ...) do self:add((select(i, ...))) end
   return self
end
function Module:sparseParameters() return self:parameters() end
-- a copy that holds the parameters and running statistics of the module itself
local held = {'weight', 'bias', 'gradWeight', 'gradBias', 'running_mean', 'running_var'}
function Module:sharedClone()
   local copy = self:clone()
   local of_copy, of_module = copy:listModules(), self:listModules()
   for i, below in ipairs(of_copy) do
      for _, name in ipairs(held) do
         if torch.isTensor(of_module[i][name]) then below[name]:set(of_module[i][name]) end
      end
   end
   local theirs = self:parameters()
   for i, parameter in ipairs(copy:parameters() or {}) do
      if torch.pointer(parameter:storage()) ~= torch.pointer(theirs[i]:storage()) then
         error(P.where() .. torch.type(self) .. ':sharedClone(): it has parameters whose sharing isn\'t implemented', 0)
      end
   end
   return copy
end
for _, name in ipairs{'maxParamNorm', 'gradParamClip', 'weightDecay', 'updateGradParameters'} do Module[name] = function() end end

local Serial = class('Serial', 'Decorator', function(self, module, kind)
   self.modules = {module}
   self.tensortype = kind
   if kind and not (type(kind) == 'string' and P.classes[kind]) then error(P.where() .. 'Expecting type string at arg 1', 0) end
end)

class('ReverseTable', nil, function(self) self.output, self.gradInput = {}, {} end)
class('Clip', nil, function(self, low, high) self.minval, self.maxval = low, high end)
class('ArgMax', nil, function(self, dimension, dimensions, as_long)
   self.dim, self.nInputDim = dimension or 1, dimensions or 9999
   self.asLong = as_long == nil and true or as_long
   if self.asLong then self.output = torch.LongTensor() end
end)
class('TotalDropout', nil, function(self, p)
   self.p, self.train = p or 0.5, true
   if self.p >= 1 or self.p < 0 then error(P.where() .. '<TotalDropout> illegal percentage, must be 0 <= p < 1', 0) end
end)
class('CategoricalEntropy', nil, function(self, scale, least)
   self.scale, self.minEntropy = scale or 1, least
   self.sizeAverage = true
   self.minusOne = torch.Tensor{-self.scale}
   self._mul = nn.MulConstant(1)
   self.module = nn.Sequential():add(nn.Sum(1)):add(self._mul)
   self.module:add(nn.ConcatTable():add(nn.Identity()):add(nn.Sequential():add(nn.AddConstant(1e-6)):add(nn.Log())))
   self.module:add(nn.CMulTable()):add(nn.Sum(1)):add(nn.MulConstant(-1))
   self.modules = {self.module}
end)

-- images
class('SpatialFeatNormalization', nil, function(self, mean, deviation)
   if not torch.isTensor(mean) or mean:dim() ~= 1 then error(P.where() .. 'a vector of means is expected', 0) end
   self.noOfFeats = mean:size(1)
   self.mean = mean
   self.std = deviation or mean.new():resizeAs(mean):fill(1)
end)
class('SpatialUniformCrop', nil, function(self, height, width, scale)
   self.oheight, self.owidth = height, width or height
   self.scale = scale
   if scale then self.scaler = nn.SpatialReSampling{owidth = self.owidth, oheight = self.oheight} end
end)
class('SpatialGlimpse', nil, function(self, size, depth, scale)
   if type(size) == 'table' then self.height, self.width = size[1], size[2] else self.height, self.width = size, size end
   self.depth, self.scale = depth or 3, scale or 2
   need('SpatialGlimpse', self.height, self.width, self.depth)
   self.gradInput = {torch.Tensor(), torch.Tensor()}
   if self.scale == 2 then
      self.module = nn.SpatialAveragePooling(2, 2, 2, 2)
   else
      self.module = nn.SpatialReSampling{oheight = self.height, owidth = self.width}
   end
   self.modules = {self.module}
end)
class('SpatialRegionDropout', nil, function(self, p)
   self.p, self.train, self.noise = p or 0.2, true, torch.Tensor()
   if self.p >= 1 or self.p < 0 then error(P.where() .. '<SpatialRegionDropout> illegal percentage, must be 0 <= p < 1', 0) end
end)
class('SimpleColorTransform', nil, function(self, channels, range)
   self.train, self.inputChannels, self.range = true, channels, range
end)
class('PCAColorTransform', nil, function(self, channels, vectors, values, deviation)
   if not torch.isTensor(vectors) or not torch.isTensor(values) then error(P.where() .. 'eigenVectors and eigenValues are expected', 0) end
   self.train, self.inputChannels, self.eigenVectors, self.eigenValues, self.std = true, channels, vectors, values, deviation or 0.1
end)
local Binary = class('SpatialBinaryConvolution', nil, function(self, inputs, outputs, kW, kH, dW, dH, padW, padH)
   need('SpatialBinaryConvolution', inputs, outputs, kW, kH)
   self.nInputPlane, self.nOutputPlane, self.kW, self.kH, self.dW, self.dH = inputs, outputs, kW, kH, dW or 1, dH or 1
   self.padW = padW or 0
   self.padH = padH or self.padW
   self.iwh, self.owh, self.train = inputs * kW * kH, outputs * kW * kH, true
   self.weight, self.gradWeight = torch.Tensor(outputs, inputs, kH, kW), torch.Tensor(outputs, inputs, kH, kW)
   self:reset()
end)
function Binary:reset(deviation)
   local bound = deviation and deviation * sqrt(3) or 1 / sqrt(self.kW * self.kH * self.nInputPlane)
   P.draw(self.weight, bound)
   P.draw(torch.Tensor(self.nOutputPlane), bound)      -- of a bias that it has no more
end
class('FireModule', 'Decorator', function(self, inputs, squeezed, of_ones, of_threes, activation)
   self.nInputPlane, self.s1x1, self.e1x1, self.e3x3 = inputs, squeezed, of_ones, of_threes
   self.activation = activation or 'ReLU'
   if self.s1x1 > self.e1x1 + self.e3x3 then
      P.bridge.write('Warning: <nn.FireModule> s1x1 is recommended to be smaller then e1x1+e3x3\n')
   end
   self.module = nn.Sequential()
   self.squeeze = nn.SpatialConvolution(inputs, squeezed, 1, 1)
   self.expand = nn.Concat(2)
   self.expand:add(nn.SpatialConvolution(squeezed, of_ones, 1, 1))
   self.expand:add(nn.SpatialConvolution(squeezed, of_threes, 3, 3, 1, 1, 1, 1))
   self.module:add(self.squeeze):add(nn[self.activation]()):add(self.expand):add(nn[self.activation]())
   self.modules = {self.module}
end)

-- nn.Inception{inputSize =, outputSize = {…}, reduceSize = {…}, kernelSize = {…}, kernelStride = {…}, …}
local function option(given, name, default)
   if given[name] == nil then return default end
   return given[name]
end
class('Inception', 'Decorator', function(self, given)
   self.inputSize, self.outputSize, self.reduceSize = given.inputSize, given.outputSize, given.reduceSize
   if type(self.inputSize) ~= 'number' or type(self.outputSize) ~= 'table' or type(self.reduceSize) ~= 'table' then
      error(P.where() .. 'missing argument: inputSize, outputSize, reduceSize', 0)
   end
   self.reduceStride = option(given, 'reduceStride', {})
   self.transfer = option(given, 'transfer', nn.ReLU())
   self.batchNorm = option(given, 'batchNorm', nil) or nil
   self.padding = option(given, 'padding', true)
   self.kernelSize = option(given, 'kernelSize', {5, 3})
   self.kernelStride = option(given, 'kernelStride', {1, 1})
   self.poolSize = option(given, 'poolSize', 3)
   self.poolStride = option(given, 'poolStride', 1)
   self.pool = option(given, 'pool', nn.SpatialMaxPooling(self.poolSize, self.poolSize, self.poolStride, self.poolStride))
   local depth = nn.DepthConcat(2)
   local function closed(net, planes)
      if self.batchNorm then net:add(nn.SpatialBatchNormalization(planes)) end
      return net:add(self.transfer:clone())
   end
   local function reduced(net, i)
      local planes = self.reduceSize[i]
      if not planes then return net end
      local stride = self.reduceStride[i] or 1
      return closed(net:add(nn.SpatialConvolution(self.inputSize, planes, 1, 1, stride, stride)), planes)
   end
   for i, size in ipairs(self.kernelSize) do
      local net = reduced(nn.Sequential(), i)
      local pad = self.padding and math.floor(size / 2) or 0
      net:add(nn.SpatialConvolution(self.reduceSize[i] or self.inputSize, self.outputSize[i], size, size,
         self.kernelStride[i], self.kernelStride[i], pad, pad))
      depth:add(closed(net, self.outputSize[i]))
   end
   local n = #self.kernelSize
   if self.pool then
      depth:add(reduced(nn.Sequential():add(self.pool), n + 1))
   end
   if self.reduceSize[n + 2] then depth:add(reduced(nn.Sequential(), n + 2)) end
   self.modules = {depth}
end)
P.part('dpnn.sampling')
return dpnn
