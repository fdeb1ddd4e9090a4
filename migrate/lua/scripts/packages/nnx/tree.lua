-- nnx's SoftMaxTree: a softmax over the children of each node. Its weight follows the order in which pairs goes through
-- the parents, which Lua does not say: the second run takes them the other way round, so that it shows as a difference.
local P = ...
local class, need = P.nn_class, P.need_number
local error, ipairs, type, sqrt, max, min = error, ipairs, type, math.sqrt, math.max, math.min

local Tree = class('SoftMaxTree', nil, function(self, inputs, hierarchy, root, update, static)
   need('SoftMaxTree', inputs)
   self.inputSize, self.rootId = inputs, root or 1
   local parents = {}
   for parent in P.raw_pairs(hierarchy) do parents[#parents + 1] = parent end
   table.sort(parents, function(a, b) if P.reversed then return a < b end return a > b end)
   self.nChildNode, self.nParentNode, self.minNodeId, self.maxNodeId = 0, #parents, 999999999, -999999999
   self.maxParentId, self.maxChildId, self.maxFamily = -999999999, -999999999, -999999999
   local parent_of, starts = {}, {}
   for _, parent in ipairs(parents) do
      local children = hierarchy[parent]
      if not torch.isTensor(children) or children:dim() ~= 1 then error(P.where() .. 'nn.SoftMaxTree: a vector of children is expected', 0) end
      local count = children:size(1)
      self.maxFamily, self.maxParentId = max(self.maxFamily, count), max(self.maxParentId, parent)
      self.minNodeId = min(self.minNodeId, parent, children:min())
      self.maxChildId = max(self.maxChildId, children:max())
      starts[parent] = self.nChildNode + 1
      for i = 1, count do
         if parent_of[children[i]] then error(P.where() .. 'nn.SoftMaxTree: a node has two parents: ' .. children[i], 0) end
         parent_of[children[i]] = parent
      end
      self.nChildNode = self.nChildNode + count
   end
   if self.minNodeId < 0 then error(P.where() .. 'nodeIds must must be positive: ' .. self.minNodeId, 0) end
   self.maxNodeId = max(self.maxParentId, self.maxChildId)
   self.childIds, self.parentIds = torch.IntTensor(self.nChildNode), torch.IntTensor(parents)
   self.parentChildren = torch.IntTensor(self.maxParentId, 2):fill(-1)
   self.childParent = torch.IntTensor(self.maxChildId, 2):fill(-1)
   for _, parent in ipairs(parents) do
      local children, start = hierarchy[parent], starts[parent]
      self.childIds:narrow(1, start, children:size(1)):copy(children)
      self.parentChildren[parent][1], self.parentChildren[parent][2] = start, children:size(1)
      for i = 1, children:size(1) do
         self.childParent[children[i]][1], self.childParent[children[i]][2] = parent, i
      end
   end
   -- the longest way from a leaf to the root, and how many numbers lie on it
   self.maxFamilyPath, self.maxDept = -999999999, -999999999
   for child in P.raw_pairs(parent_of) do
      local at, path, depth = child, 0, 0
      while at ~= self.rootId do
         at, depth = parent_of[at], depth + 1
         if not at or depth > self.nChildNode then error(P.where() .. 'nn.SoftMaxTree: node ' .. child .. ' does not lead to the root', 0) end
         path = path + self.parentChildren[at][2]
      end
      self.maxFamilyPath, self.maxDept = max(self.maxFamilyPath, path), max(self.maxDept, depth)
   end
   self.weight, self.bias = torch.Tensor(self.nChildNode, inputs), torch.Tensor(self.nChildNode)
   self.accUpdate = update
   if not update then
      self.gradWeight, self.gradBias = torch.zeros(self.nChildNode, inputs), torch.zeros(self.nChildNode)
   end
   self.updates, self.static, self.batchSize = {}, static == nil and true or static, 0
   self._nodeBuffer, self._multiBuffer = torch.Tensor(), torch.Tensor()
   self._gradInput, self._gradTarget = torch.Tensor(), torch.IntTensor()
   self.gradInput = {self._gradInput, self._gradTarget}
   self:reset()
end)
-- where it is static it lists its parameters by the numbers of the nodes, which no list of parameters takes up
function Tree:parameters()
   if self.static then return {}, {} end
   return {self.weight, self.bias}, {self.gradWeight, self.gradBias}
end
Tree.reset = P.drawn_with(function(self) return self.nChildNode * self.inputSize end)
