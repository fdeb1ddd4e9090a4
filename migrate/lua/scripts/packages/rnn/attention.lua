-- rnn's steps with operations to choose from, attention, and losses over sequences.
local P = ...
local class = P.nn_class
local error, ipairs, type = error, ipairs, type
local sequence, both, set_step, step_fields, stepping = P.rnn.sequence, P.rnn.both, P.rnn.set_step, P.rnn.step_fields, P.rnn.stepping

-- {x, h} -> h: what becomes of the old state is a mixture of operations on it and on the new one
local function pairs_only(module) return sequence(nn.MapTable(nn.Unsqueeze(1)), nn.JoinTable(1), module) end
local operations = {
   keep = function() return nn.SelectTable(1) end,
   replace = function() return nn.SelectTable(2) end,
   mul = function() return nn.CMulTable() end,
   diff = function() return nn.CSubTable() end,
   forget = function() return sequence(nn.SelectTable(1), nn.MulConstant(0)) end,
   sqrt_diff = function() return sequence(nn.CSubTable(), nn.Abs(), nn.Sqrt(), nn.MulConstant(0.25)) end,
   max = function() return pairs_only(nn.Max(1)) end,
   min = function() return pairs_only(nn.Min(1)) end,
}
local MuFuRu = torch.class('nn.MuFuRu', 'nn.GRU')
function MuFuRu:__init(inputs, outputs, ops, rho)
   step_fields(self, inputs, outputs, rho)
   self.ops = ops or {'keep', 'replace', 'mul', 'diff', 'forget', 'sqrt_diff', 'max', 'min'}
   self.num_ops, self.operations = #self.ops, {}
   for i, name in ipairs(self.ops) do self.operations[i] = (operations[name] or error(P.where() .. 'nn.MuFuRu: no operation ' .. tostring(name), 0))() end
   local all = inputs + outputs
   local reset = sequence(nn.ParallelTable():add(nn.Linear(inputs, outputs)):add(nn.Linear(outputs, outputs)), nn.CAddTable(), nn.Sigmoid())
   local first = nn.ConcatTable():add(nn.SelectTable(1)):add(nn.SelectTable(2)):add(reset)
   local feature = sequence(both(nn.SelectTable(1), sequence(nn.NarrowTable(2, 2), nn.CMulTable())), nn.JoinTable(2),
      nn.Linear(all, outputs), nn.Sigmoid())
   local chosen = sequence(nn.NarrowTable(1, 2), nn.JoinTable(2), nn.Linear(all, self.num_ops * outputs),
      nn.View(self.num_ops, outputs):setNumInputDims(1), nn.Transpose({1, 2}), nn.SoftMax())
   local second = nn.ConcatTable():add(nn.SelectTable(2)):add(feature):add(chosen)
   local done = nn.ConcatTable()
   for _, operation in ipairs(self.operations) do done:add(operation) end
   local results = sequence(nn.NarrowTable(1, 2), done, nn.MapTable(nn.Unsqueeze(1)), nn.JoinTable(1, 3))
   set_step(self, sequence(first, second, sequence(both(results, nn.SelectTable(3)), nn.CMulTable(), nn.Sum(1, 3))))
end

class('RecurrentAttention', 'Container', function(self, rnn, action, steps, hidden)
   if type(steps) ~= 'number' or type(hidden) ~= 'table' then error(P.where() .. 'nn.RecurrentAttention(rnn, action, nStep, hiddenSize)', 0) end
   self.rnn, self.action = stepping(rnn), stepping(action)
   self.hiddenSize, self.nStep = hidden, steps
   self.modules = {self.rnn, self.action}
   self.output, self.actions, self.forwardActions, self.gradHidden = {}, {}, false, {}
end)

local function criterion(name, init)
   local made = torch.class('nn.' .. name, 'nn.Criterion')
   made.__init = function(self, ...)
      nn.Criterion.__init(self)
      init(self, ...)
   end
end
criterion('SequencerCriterion', function(self, loss, average)
   self.criterion, self.clones, self.gradInput = loss, {}, {}
   self.sizeAverage = average or false
end)
criterion('RepeaterCriterion', function(self, loss)
   self.criterion, self.clones, self.gradInput = loss, {}, {}
end)
criterion('MaskZeroCriterion', function(self, loss, dimensions)
   if not torch.isTypeOf(loss, 'nn.Criterion') then error(P.where() .. 'Expecting nn.Criterion', 0) end
   self.criterion, self.nInputDim = loss, dimensions
end)
