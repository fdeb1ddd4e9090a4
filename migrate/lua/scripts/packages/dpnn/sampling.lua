-- dpnn's layers and losses that draw or choose, and those for large vocabularies.
local P = ...
local class, need = P.nn_class, P.need_number
local error, ipairs, type, sqrt, log = error, ipairs, type, math.sqrt, math.log

local Reinforce = class('Reinforce', nil, function(self, stochastic) self.stochastic = stochastic end)
function Reinforce:reinforce(reward) self.reward = reward end
for _, name in ipairs{'ReinforceBernoulli', 'ReinforceCategorical'} do class(name, 'Reinforce') end
nn.ReinforceBernoulli.__init, nn.ReinforceCategorical.__init = Reinforce.__init, Reinforce.__init
class('ReinforceNormal', 'Reinforce', function(self, deviation, stochastic)
   self.stochastic, self.stdev = stochastic, deviation
   if not deviation then self.gradInput = {torch.Tensor(), torch.Tensor()} end
end)

-- tables of the alias method, as it draws from a discrete distribution
local Alias = torch.class('torch.AliasMultinomial')
function Alias:__init(probabilities)
   if probabilities:dim() ~= 1 then error(P.where() .. 'a vector of probabilities is expected', 0) end
   local count = probabilities:nElement()
   if probabilities:min() < 0 then error(P.where() .. 'probabilities can\'t be below 0', 0) end
   self.J, self.q = torch.LongTensor(count):zero(), torch.Tensor(count):copy(probabilities):mul(count)
   local smaller, larger = {}, {}
   for i = 1, count do
      if self.q[i] < 1 then smaller[#smaller + 1] = i else larger[#larger + 1] = i end
   end
   while #smaller > 0 and #larger > 0 do
      local low, high = smaller[#smaller], larger[#larger]
      smaller[#smaller], larger[#larger] = nil, nil
      self.J[low] = high
      self.q[high] = self.q[high] - (1 - self.q[low])
      if self.q[high] < 1 then smaller[#smaller + 1] = high else larger[#larger + 1] = high end
   end
   self.dpnn_parameters = {'J', 'q'}
end

local NCE = class('NCEModule', 'Linear', function(self, inputs, outputs, k, unigrams, Z)
   need('NCEModule', inputs, outputs, k)
   if not torch.isTensor(unigrams) or unigrams:nElement() ~= outputs then
      error(P.where() .. 'nn.NCEModule: unigrams must have a number for each output', 0)
   end
   self.weight, self.gradWeight = torch.Tensor(outputs, inputs), torch.Tensor(outputs, inputs)
   self.bias, self.gradBias = torch.Tensor(outputs), torch.Tensor(outputs)
   self.k, self.batchnoise = k, true
   self:setZ(Z or -1)
   self.output = {torch.Tensor(), torch.Tensor(), torch.Tensor(), torch.Tensor()}
   self.gradInput = {torch.Tensor(), torch.Tensor()}
   self.unigrams = torch.Tensor(outputs):copy(unigrams):div(unigrams:sum())
   self.aliasmultinomial = torch.AliasMultinomial(self.unigrams)
   self:reset()
end)
function NCE:setZ(Z) self.Z = torch.Tensor{Z} end
function NCE:reset(deviation)
   local bound = deviation and deviation * sqrt(3) or 1 / sqrt(self.weight:size(2))
   P.draw(self.weight, bound)
   self.bias:fill(-log(self.bias:size(1)))
end

-- losses
local function criterion(name, init)
   local made = torch.class('nn.' .. name, 'nn.Criterion')
   made.__init = function(self, ...)
      nn.Criterion.__init(self)
      init(self, ...)
   end
end
local function rewarded(self, module, scale, loss)
   if not torch.isTypeOf(module, 'nn.Module') then error(P.where() .. 'the module that is rewarded is expected', 0) end
   self.module, self.scale, self.criterion, self.sizeAverage = module, scale or 1, loss or nn.MSECriterion(), true
   self.gradInput = {torch.Tensor()}
end
criterion('VRClassReward', rewarded)
criterion('BinaryClassReward', rewarded)
criterion('BinaryLogisticRegression', function(self, average) self.sizeAverage = average == nil and true or average end)
criterion('SpatialBinaryLogisticRegression', function(self) self.sizeAverage = true end)
criterion('NCECriterion', function(self)
   self.sizeAverage = true
   self.gradInput = {torch.Tensor(), torch.Tensor(), torch.Tensor(), torch.Tensor()}
end)
