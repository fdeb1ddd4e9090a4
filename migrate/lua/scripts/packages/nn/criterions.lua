-- Losses, which definitions make beside their models.
local P = ...
local ipairs, error, type = ipairs, error, type

local function criterion(name, init, parent)
   local class = torch.class('nn.' .. name, 'nn.' .. (parent or 'Criterion'))
   if init then
      class.__init = function(self, ...)
         nn.Criterion.__init(self)
         init(self, ...)
      end
   end
   return class
end
local function averaged(name, init)
   criterion(name, function(self, average, ...)
      self.sizeAverage = average == nil and true or average
      if init then init(self, ...) end
   end)
end
for _, name in ipairs{'MSECriterion', 'AbsCriterion', 'SmoothL1Criterion', 'SoftMarginCriterion', 'DistKLDivCriterion'} do averaged(name) end
criterion('BCECriterion', function(self, weights, average)
   self.sizeAverage = average == nil and true or average
   self.weights = weights
end)
local function of_classes(self, weights, average, ignored)
   self.sizeAverage = average == nil and true or average
   self.weights = weights
   self.output_tensor, self.total_weight_tensor = torch.zeros(1), torch.ones(1)
   self.target = torch.zeros(1):long()
end
criterion('ClassNLLCriterion', function(self, weights, average, ignored)
   of_classes(self, weights, average)
   self.ignoreIndex = ignored or -100
end)
criterion('SpatialClassNLLCriterion', of_classes)
criterion('CrossEntropyCriterion', function(self, weights, average)
   self.lsm = nn.LogSoftMax()
   self.nll = nn.ClassNLLCriterion(weights, average)
   self.sizeAverage = self.nll.sizeAverage
   self.oldSizeAverage = self.sizeAverage
end)
local function with_margin(name, margin)
   criterion(name, function(self, given)
      self.margin, self.sizeAverage = given or margin, true
   end)
end
with_margin('MarginCriterion', 1)
with_margin('HingeEmbeddingCriterion', 1)
criterion('CosineEmbeddingCriterion', function(self, margin)
   self.margin, self.sizeAverage = margin or 0, true
   self.gradInput = {torch.Tensor(), torch.Tensor()}
end)
criterion('MultiLabelMarginCriterion', function(self)
   self.sizeAverage, self.isTarget = true, torch.Tensor()
end)
criterion('MultiMarginCriterion', function(self, p, weights, margin)
   self.p, self.weights, self.margin, self.sizeAverage = p or 1, weights, margin or 1, true
end)
local function several(name, weights)
   local class = criterion(name, function(self)
      self.criterions, self.weights = {}, weights()
      self.gradInput = name == 'ParallelCriterion' and {} or self.gradInput
   end)
   return class
end
local Parallel = several('ParallelCriterion', function() return {} end)
function Parallel:add(criterion_, weight)
   if not criterion_ then error(P.where() .. 'no criterion provided', 0) end
   self.criterions[#self.criterions + 1] = criterion_
   self.weights[#self.weights + 1] = weight or 1
   return self
end
local Multi = several('MultiCriterion', function() return torch.DoubleStorage() end)
function Multi:add(criterion_, weight)
   if not criterion_ then error(P.where() .. 'no criterion provided', 0) end
   self.criterions[#self.criterions + 1] = criterion_
   self.weights:resize(#self.criterions)
   self.weights[#self.criterions] = weight or 1
   return self
end

criterion('MultiLabelSoftMarginCriterion', function(self, weights)
   self.sigmoid, self.weights, self.sizeAverage = nn.Sigmoid(), weights, true
end)
criterion('L1Cost')
criterion('SpatialAutoCropMSECriterion', nn.MSECriterion.__init, 'MSECriterion')
criterion('WeightedMSECriterion', function(self, weight) self.weight, self.sizeAverage = weight, true end, 'MSECriterion')
criterion('DistanceRatioCriterion', function(self, average) self.sizeAverage = average == nil and true or average end)
criterion('L1HingeEmbeddingCriterion', function(self, margin)
   self.margin, self.gradInput = margin or 1, {torch.Tensor(), torch.Tensor()}
end)
criterion('MarginRankingCriterion', function(self, margin)
   self.margin, self.sizeAverage = margin or 1, true
   self.gradInput = {torch.zeros(1), torch.zeros(1)}
end)
criterion('CriterionTable').__init = function(self, loss)
   P.module_fields(self)
   self.criterion, self.gradInput = loss, {loss.gradInput}
end
criterion('ModuleCriterion', function(self, loss, input, target, cast)
   self.criterion, self.inputModule, self.targetModule = loss, input, target
   self.castTarget = cast == nil and true or cast
   self.output, self.gradInput = nil, nil
end)
-- the corners of a simplex of unit vectors, one for each class
criterion('ClassSimplexCriterion', function(self, classes)
   if type(classes) ~= 'number' or classes < 2 then error(P.where() .. 'nn.ClassSimplexCriterion: at least 2 classes are expected', 0) end
   self.nClasses, self.sizeAverage = classes, true
   local simplex = torch.zeros(classes, classes - 1)
   for k = 1, classes - 1 do
      local before = k > 1 and simplex:narrow(1, k, 1):narrow(2, 1, k - 1):norm() or 0
      local here = math.sqrt(1 - before ^ 2)
      simplex[k][k] = here
      local after = (-before ^ 2 - 1 / (classes - 1)) / here
      simplex:narrow(1, k + 1, classes - k):narrow(2, k, 1):fill(after)
   end
   self.simplex = torch.zeros(classes, classes)
   self.simplex:narrow(2, 1, classes - 1):copy(simplex)
   self._target = torch.zeros(classes)
end, 'MSECriterion')
