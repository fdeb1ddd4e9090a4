-- cudnn: the classes of cudnn.torch with its own defaults, where they differ from nn's.
local P = ...
require 'nn'
local ipairs, error, type, pairs = ipairs, error, type, P.raw_pairs
cudnn = {benchmark = false, fastest = false, verbose = false, version = 5105}

local function twin(name, parent) return torch.class('cudnn.' .. name, 'nn.' .. (parent or name)) end
local function own(name, init, parent)
   local class = torch.class('cudnn.' .. name, parent or 'nn.Module')
   class.__init = function(self, ...)
      P.module_fields(self)
      init(self, ...)
   end
   return class
end
local function pointwise(self, in_place) self.inplace = in_place or false end
for _, name in ipairs{'ReLU', 'Tanh', 'Sigmoid'} do own(name, pointwise, 'nn.' .. name) end
own('ClippedReLU', function(self, ceiling, in_place)
   if not ceiling then error(P.where() .. 'No ceiling was given to ClippedReLU', 0) end
   self.ceiling = ceiling
   self.inplace = in_place or false
end)
for _, name in ipairs{'SoftMax', 'SpatialSoftMax'} do
   own(name, function(self, fast) self.algorithm = fast and 'CUDNN_SOFTMAX_FAST' or 'CUDNN_SOFTMAX_ACCURATE' end, 'nn.' .. name)
end
own('LogSoftMax', function(self) self.algorithm = 'CUDNN_SOFTMAX_ACCURATE' end, 'nn.LogSoftMax')
own('SpatialLogSoftMax', function(self)
   self.algorithm, self.mode = 'CUDNN_SOFTMAX_LOG', 'CUDNN_SOFTMAX_MODE_CHANNEL'
end, 'nn.SpatialLogSoftMax')

-- what chooses algorithms says nothing about the numbers
local function convolution(class)
   for _, name in ipairs{'fastest', 'setMode', 'resetMode'} do class[name] = function(self) return self end end
   class.clearDesc = function() end
   return class
end
local Convolution = convolution(twin('SpatialConvolution'))
function Convolution:__init(inputs, outputs, kW, kH, dW, dH, padW, padH, groups)
   self.groups = groups or 1
   if inputs % self.groups ~= 0 then error(P.where() .. 'nInputPlane should be divisible by nGroups', 0) end
   if outputs % self.groups ~= 0 then error(P.where() .. 'nOutputPlane should be divisible by nGroups', 0) end
   nn.SpatialConvolution.__init(self, inputs, outputs, kW, kH, dW, dH, padW, padH)
   if self.groups > 1 then
      self.weight = torch.Tensor(outputs, inputs / self.groups, kH, kW)
      self.gradWeight = torch.Tensor(outputs, inputs / self.groups, kH, kW)
      self:reset()
   end
end
for _, name in ipairs{'SpatialFullConvolution', 'VolumetricConvolution', 'VolumetricFullConvolution'} do
   local class = convolution(twin(name))
   local above = nn[name].__init
   local own_arguments = name == 'SpatialFullConvolution' and 10 or name == 'VolumetricConvolution' and 11 or 14
   class.__init = function(self, ...)
      local groups = (select(own_arguments + 1, ...))
      if (groups or 1) ~= 1 then error(P.where() .. 'cudnn.' .. name .. ' with groups isn\'t implemented', 0) end
      above(self, ...)
   end
end
local Temporal = convolution(twin('TemporalConvolution'))
function Temporal:__init(inputs, outputs, kW, dW, padW)
   nn.TemporalConvolution.__init(self, inputs, outputs, kW, dW)
   self.nInputPlane, self.nOutputPlane, self.inputFrameSize, self.outputFrameSize = 1, outputs, inputs, outputs
   self.kH, self.kW, self.dH, self.dW = kW, inputs, dW or 1, 1
   self.padH, self.padW, self.groups = padW or 0, 0, 1
end

for _, name in ipairs{'BatchNormalization', 'SpatialBatchNormalization', 'VolumetricBatchNormalization'} do
   local class = twin(name)
   local above = nn[name].__init
   class.__init = function(self, count, eps, momentum, affine)
      if not (affine == nil or affine == true) then error(P.where() .. 'only affine supported', 0) end
      above(self, count, eps, momentum, true)
   end
end

-- pooling steps by its kernel; in two dimensions dH falls back on kW
local function pooling(name)
   own(name, function(self, kW, kH, dW, dH, padW, padH)
      P.need_number(name, kW, kH)
      self.kW, self.kH = kW, kH
      self.dW, self.dH = dW or kW, dH or kW
      self.padW, self.padH = padW or 0, padH or 0
      self.iSize = torch.LongStorage(4):fill(0)
      self.ceil_mode = false
   end, 'nn.' .. name)
end
pooling('SpatialMaxPooling')
pooling('SpatialAveragePooling')
for _, name in ipairs{'VolumetricMaxPooling', 'VolumetricAveragePooling'} do
   local class = own(name, function(self, kT, kW, kH, dT, dW, dH, padT, padW, padH)
      P.need_number(name, kT, kW, kH)
      self.kT, self.kW, self.kH = kT, kW, kH
      self.dT, self.dW, self.dH = dT or kT, dW or kW, dH or kH
      self.padT, self.padW, self.padH = padT or 0, padW or 0, padH or 0
      self.iSize = torch.LongStorage(5):fill(0)
      self.ceil_mode = false
   end, 'nn.' .. name)
   class.ceil, class.floor = nn.SpatialMaxPooling.ceil, nn.SpatialMaxPooling.floor
end
own('SpatialCrossMapLRN', function(self, size, alpha, beta, k)
   self.size, self.alpha, self.beta, self.k = size or 5, alpha or 1e-4, beta or 0.75, k or 1.0
end, 'nn.SpatialCrossMapLRN')

own('VolumetricSoftMax', function(self, fast) self.ssm = cudnn.SpatialSoftMax(fast) end)
own('VolumetricLogSoftMax', function(self) self.ssm = cudnn.SpatialLogSoftMax() end)
local SpatialCross = torch.class('cudnn.SpatialCrossEntropyCriterion', 'nn.Criterion')
function SpatialCross:__init(weights)
   nn.Criterion.__init(self)
   self.slsm = cudnn.SpatialLogSoftMax()
   self.nll = nn.SpatialClassNLLCriterion(weights)
   self.sizeAverage = true
end
local VolumetricCross = torch.class('cudnn.VolumetricCrossEntropyCriterion', 'nn.Criterion')
function VolumetricCross:__init(weights)
   nn.Criterion.__init(self)
   self.scec = cudnn.SpatialCrossEntropyCriterion(weights)
end

-- recurrent layers over whole sequences: all weights and biases in one vector, two biases for each gate
local RNN = torch.class('cudnn.RNN', 'nn.Module')
local gates = {CUDNN_RNN_RELU = 1, CUDNN_RNN_TANH = 1, CUDNN_LSTM = 4, CUDNN_GRU = 3}
local function recurrent(self, inputs, hidden, layers, batch_first, dropout, remember, mode, directions)
   P.module_fields(self)
   P.need_number('RNN', inputs, hidden, layers)
   self.datatype = 'CUDNN_DATA_FLOAT'
   self.inputSize, self.hiddenSize, self.numLayers = inputs, hidden, layers
   self.seqLength, self.miniBatch, self.numDirections = 1, 1, directions
   self.bidirectional = directions == 2 and 'CUDNN_BIDIRECTIONAL' or 'CUDNN_UNIDIRECTIONAL'
   self.inputMode, self.mode = 'CUDNN_LINEAR_INPUT', mode
   self.dropout, self.seed = dropout or 0, 0x01234567
   self.batchFirst, self.rememberStates = batch_first or false, remember or false
   self.sync, self.inputPacked = true, false
   for _, name in ipairs{'reserve', 'hiddenOutput', 'cellOutput', 'gradHiddenInput', 'gradCellInput'} do self[name] = torch.Tensor() end
   local count = 0
   for layer = 1, layers do
      local from = layer == 1 and inputs or hidden * directions
      count = count + directions * gates[mode] * (hidden * from + hidden * hidden + 2 * hidden)
   end
   self.weight, self.gradWeight = torch.Tensor(count), torch.Tensor(count)
   self:reset()
end
function RNN:__init(inputs, hidden, layers, batch_first, dropout, remember)
   recurrent(self, inputs, hidden, layers, batch_first, dropout, remember, 'CUDNN_RNN_RELU', 1)
end
function RNN:reset(deviation)
   P.draw(self.weight, deviation or 1 / math.sqrt(self.hiddenSize))
end
function RNN:resetDropoutDescriptor() end
function RNN:resetStates() end
for _, entry in ipairs{{'RNNReLU', 'CUDNN_RNN_RELU', 1}, {'RNNTanh', 'CUDNN_RNN_TANH', 1}, {'LSTM', 'CUDNN_LSTM', 1},
                       {'GRU', 'CUDNN_GRU', 1}, {'BLSTM', 'CUDNN_LSTM', 2}, {'BGRU', 'CUDNN_GRU', 2}} do
   local name, mode, directions = entry[1], entry[2], entry[3]
   local class = torch.class('cudnn.' .. name, 'cudnn.RNN')
   function class:__init(inputs, hidden, layers, batch_first, dropout, remember)
      recurrent(self, inputs, hidden, layers, batch_first, dropout, remember, mode, directions)
   end
end

-- layers change their class and keep their fields, those that keep(module) holds for left as they are
local kinds = {}
for _, name in ipairs{'BatchNormalization', 'SpatialBatchNormalization', 'SpatialConvolution', 'SpatialCrossMapLRN',
                      'SpatialFullConvolution', 'SpatialMaxPooling', 'SpatialAveragePooling', 'ReLU', 'Tanh', 'Sigmoid', 'SoftMax',
                      'LogSoftMax', 'VolumetricBatchNormalization', 'VolumetricConvolution', 'VolumetricMaxPooling',
                      'VolumetricAveragePooling'} do
   kinds[name] = true
end
function cudnn.convert(net, backend, keep)
   local from, to = 'nn', 'cudnn'
   if backend == nn then from, to = 'cudnn', 'nn' end
   return net:replace(function(module)
      if torch.type(module) == 'nn.gModule' then error(P.where() .. 'cudnn.convert does not work with nngraph yet', 0) end
      if keep and keep(module) then return module end
      local space, name = torch.type(module):match('^(%w+)%.(%w+)$')
      if to == 'cudnn' and name == 'SpatialConvolutionMM' then name = 'SpatialConvolution' end
      if space ~= from or not kinds[name] then return module end
      local made = {}
      torch.setmetatable(made, to .. '.' .. name)
      for k, v in pairs(module) do made[k] = v end
      return made
   end)
end
return cudnn
