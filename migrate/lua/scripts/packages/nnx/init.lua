-- nnx: written from what Torch7 recorded. Its data sets and old layers that need packages of their own aren't here.
local P = ...
require 'nn'
local class, need, draw = P.nn_class, P.need_number, P.draw
local error, ipairs, type, select, sqrt = error, ipairs, type, select, math.sqrt
nnx = {}

class('Minus')
class('MultiSoftMax', nil, function(self)
   self._input, self._output, self._gradInput, self._gradOutput = torch.Tensor(), torch.Tensor(), torch.Tensor(), torch.Tensor()
end)
class('PixelSort', nil, function(self, factor)
   self.downscaleFactor, self.downscaleFactorSquared = factor, factor * factor
end)
class('Probe', nil, function(self, name) self.name = name or 'unnamed' end)
class('SaturatedLU', nil, function(self, threshold, value, above, value_above)
   self.threshold, self.val, self.threshold2, self.val2 = threshold or -1, value or -1, above or 1, value_above or 1
end)
class('Balance', nil, function(self, batches)
   self.nBatch, self.train = batches, true
   self.sum, self.prob, self.inputCache = torch.Tensor(), torch.Tensor(), torch.Tensor()
   self.startIdx, self.batchSize = 1, 0
end)

-- a push hands what it gets to its pulls, wherever they stand
local Push = class('PushTable', nil, function(self, index)
   self._index, self._pulls, self._gradInput, self._forward = index, {}, torch.Tensor(), false
   self.output, self.gradInput, self._type = {}, {}, nil
end)
function Push:pull(index)
   local pull = nn.PullTable(self, index)
   self._pulls[#self._pulls + 1] = pull
   return pull
end
class('PullTable', nil, function(self, push, index)
   self._push, self._index = push, index
   self.output, self.gradInput, self._type = {}, {}, nil
end)

local Classifier = class('SpatialClassifier', nil, function(self, classifier)
   self.classifier = classifier or nn.Sequential()
   self.modules = {self.classifier}
   self.spatialOutput = true
   for _, name in ipairs{'inputF', 'inputT', 'outputF', 'gradInputF', 'gradOutputF', 'gradOutputT'} do self[name] = torch.Tensor() end
end)
function Classifier:add(module) self.classifier:add(module) end

local SpatialLinear = class('SpatialLinear', nil, function(self, inputs, outputs)
   need('SpatialLinear', inputs, outputs)
   self.fanin, self.fanout, self.weightDecay = inputs, outputs, 0
   self.weight, self.gradWeight = torch.Tensor(outputs, inputs), torch.zeros(outputs, inputs)
   self.bias, self.gradBias = torch.Tensor(outputs), torch.zeros(outputs)
   self.output, self.gradInput = torch.zeros(outputs, 1, 1), torch.zeros(inputs, 1, 1)
   self:reset()
end)
function SpatialLinear:reset(deviation)
   local bound = deviation and deviation * sqrt(3) or 1 / sqrt(self.weight:size(1))
   for i = 1, self.weight:size(1) do
      draw(self.weight:select(1, i), bound)
      draw(self.bias:narrow(1, i, 1), bound)
   end
end

-- nnx.QDRiemaNNLinear(inputs, outputs, gamma, not only the diagonal)
local Riemann = torch.class('nnx.QDRiemaNNLinear', 'nn.Linear')
function Riemann:__init(inputs, outputs, gamma, off_diagonal)
   nn.Linear.__init(self, inputs, outputs)
   self.qdFlag = off_diagonal == nil and true or off_diagonal
   self.gamma, self.matReg, self.initMetric = gamma or 0.01, 1e-12, true
   self.Mii, self.M00 = torch.zeros(outputs, inputs), torch.zeros(outputs)
   if self.qdFlag then self.M0i = torch.zeros(outputs, inputs) end
end
function Riemann:reset()
   self.weight:normal(0, 1 / sqrt(self.weight:size(2)))
   self.bias:zero()
end

-- losses
local function criterion(name, init)
   local made = torch.class('nn.' .. name, 'nn.Criterion')
   made.__init = function(self, ...)
      nn.Criterion.__init(self)
      init(self, ...)
   end
   return made
end
criterion('DistNLLCriterion', function(self, given)
   given = given or {}
   self.inputIsADistance = given.inputIsADistance or false
   self.inputIsProbability, self.inputIsLogProbability = given.inputIsProbability or false, given.inputIsLogProbability or false
   self.targetIsProbability = given.targetIsProbability == nil and true or given.targetIsProbability
   self.targetSoftMax, self.inputLogSoftMax, self.inputLog = nn.SoftMax(), nn.LogSoftMax(), nn.Log()
   self.gradLogInput, self.input = torch.Tensor(), torch.Tensor()
end)
local Super = criterion('SuperCriterion', function(self) self.criterions, self.weights, self.gradInput = {}, {}, {} end)
function Super:add(loss, weight)
   self.criterions[#self.criterions + 1] = loss
   self.weights[#self.weights + 1] = weight or 1
end
criterion('TreeNLLCriterion', function(self)
   self._module, self._output_grad = nn.Mean(1), torch.Tensor{-1}
end)

P.part('nnx.images')
P.part('nnx.tree')
return nnx
