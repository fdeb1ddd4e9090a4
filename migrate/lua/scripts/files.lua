-- require, dofile and their like: the product's own packages, then files below the folders that were named.
local P = ...
local bridge = P.bridge
local type, error, tostring, unpack, select, ipairs = type, error, tostring, unpack, select, ipairs
local own_name = string.sub(P.own, 2)
local find, match, sub, gsub, gmatch = string.find, string.match, string.sub, string.gsub, string.gmatch
local loaded, running = {}, {}
P.has_run = {}
function P.running_file() return running[#running] end
function P.is_file(name) return bridge.find(name) ~= nil end
local rawget, rawset = rawget, rawset

-- what is absent can be named while packages load, and not be used while layers run
function P.begin() P.absent_raises = true end

-- LuaJIT takes a bracket on a new line for a call, Lua 5.1 refuses it: the line break moves behind the bracket
local function compile(text, name, behind)
   local f, message = P.compile(text, name, behind)
   for _ = 1, 100 do
      local line = not f and match(message or '', ':(%d+): ambiguous syntax')
      if not line then break end
      local at = 1
      for _ = 2, tonumber(line) do at = find(text, '\n', at, true) + 1 end
      local bracket = find(text, '(', at, true)
      text = sub(text, 1, at - 2) .. ' ' .. sub(text, at, bracket) .. '\n' .. sub(text, bracket + 1)
      f, message = P.compile(text, name, behind)
   end
   return f, message
end

-- an error in one of the product's own files is told with the author's line that led to it
local function placed(message)
   if P.on_error then P.on_error() end
   if type(message) == 'string' and find(message, own_name, 1, true) == 1 then
      message = P.where() .. gsub(message, '^[^:]*:%d+: ', '')
   end
   P.stops(message)
   return message
end
function P.protected(f, ...)
   local count, arguments = select('#', ...), {...}
   local n, results = 0
   local function keep(ok, ...)
      n, results = select('#', ...), {...}
      return ok
   end
   if not keep(P.xpcall(function() return f(unpack(arguments, 1, count)) end, placed)) then return false, results[1] end
   return true, unpack(results, 1, n)
end
local function given(file, ok, ...)
   if file then running[#running] = nil end
   if not ok then error((...), 0) end
   return ...
end
local function run(file, ...)
   local text, f, message = bridge.source(file)
   -- what data that are not there stop is one statement, where the layers are the product's, which say what they change
   if P.end_of_file or P.goes_on then
      -- its variables are seen at its end; a file that returns something takes no further line
      f = P.end_of_file and compile(text, '@' .. file, '\nlocal _ = __end_of_file()') or compile(text, '@' .. file, '')
      rawset(_G, '__end_of_file', P.end_of_file)
   end
   if not f then f, message = compile(text, '@' .. file) end
   if not f then error(message, 0) end
   running[#running + 1] = file
   P.has_run[file] = true
   if P.watched_file == file then return P.watched_results(P.names_of_globals(), given(file, P.protected(f, ...))) end
   return given(file, P.protected(f, ...))
end
function P.run_text(f) return given(nil, P.protected(f)) end

local function beside(file) return match(file or '', '^(.*)/[^/]*$') or '' end
local function join(folder, name) return folder == '' and name or folder .. '/' .. name end

-- the folders in which a name is looked for beside the working folder: that of the file that asks, and those above the
-- first file, in one of which its author ran it
local function places()
   local list, folder = {beside(running[#running])}, beside(running[1])
   while folder ~= '' and not find(folder, '^torch7%-source') do
      list[#list + 1] = folder
      folder = beside(folder)
   end
   return list
end
-- a file by name: in the working folder, else in one of those places
local function in_places(name)
   local file = bridge.find(name)
   for _, folder in ipairs(file and {} or places()) do file = file or bridge.find(join(folder, name)) end
   return file
end
P.in_places = in_places
-- notes that a script asks for a file of data that is there
function P.ask(name)
   if type(name) == 'string' and in_places(name) then bridge.asked(name) end
end
local function located(name)
   if type(name) ~= 'string' then error('a name of a file expected', 3) end
   local file = in_places(name)
   -- some name their own project below their home
   local below = not file and match(name, '^/home/author/[^/]+/(.+)$')
   while below and not file do
      file = bridge.find(below)
      below = match(below, '^[^/]+/(.+)$')
   end
   return file or error('cannot open ' .. name .. ' (it must lie below the folder of the definition)', 3)
end

function dofile(name) return run(located(name)) end
function loadfile(name)
   local file = located(name)
   return function(...) return run(file, ...) end
end
include = dofile
P.beside_caller = function(level)
   local i = P.getinfo(level + 1, 'S')
   return beside(i and sub(i.source, 1, 1) == '@' and sub(i.source, 2) or '')
end
P.run_file, P.located, P.join = run, located, join
-- a file that is run once, whether it is named or required first
function P.run_once(name)
   local file = located(name)
   if loaded[file] == nil then
      loaded[file] = true
      run(file)
   end
end
function P.torch.include(package_name, name)
   if bridge.kernels(tostring(package_name) .. '.' .. name) then return end      -- its tests
   return run(located(name))
end
function P.torch.packageLuaPath(name) return beside(running[#running]) end

local endings = {'', '.lua', '/init.lua'}
local function found(name)
   if find(name, '^%.%.?/') then      -- th takes such names from beside the file that asks
      for _, folder in ipairs{beside(running[#running]), ''} do
         for _, ending in ipairs(endings) do
            local file = bridge.find(join(folder, name .. ending))
            if file then return file end
         end
      end
   end
   if find(name, '%.lua$') and bridge.find(name) then return bridge.find(name) end
   local path = gsub(name, '%.', '/')
   for pattern in gmatch(type(package.path) == 'string' and package.path or '', '[^;]+') do
      local file = bridge.find((gsub(pattern, '%?', function() return path end)))
      if file then return file end
   end
   for _, folder in ipairs(places()) do
      local file = bridge.find(join(folder, path .. '.lua')) or bridge.find(join(folder, path .. '/init.lua'))
      if file then return file end
   end
   return bridge.find_below_name(path .. '.lua') or bridge.find_below_name(path .. '/init.lua')
end

package = {loaded = loaded, preload = {}, path = './?.lua;./?/init.lua', cpath = '', loaders = {}, config = '/\n;\n?\n!\n-'}
function package.loadlib() error('package.loadlib is closed', 2) end
function package.searchpath() return nil, 'package.searchpath is closed' end

function require(name)
   if type(name) ~= 'string' then error('bad argument #1 to \'require\' (string expected)', 2) end
   if loaded[name] ~= nil then return loaded[name] end
   local value
   if type(rawget(package.preload, name)) == 'function' then
      loaded[name] = true
      value = package.preload[name](name)
   elseif bridge.torch7_package(name) then
      loaded[name] = true
      value = P.run_torch7(bridge.torch7_package(name), name)
      if value == nil then value = rawget(_G, name) end
   elseif bridge.package(name) and not (name == 'class' and found(name)) then      -- many authors have a file class.lua
      loaded[name] = true
      value = P.run_package(name)
      if value == nil then value = rawget(_G, name) end
   else
      local file = found(name)
      if not file then
         -- a library in C is not run
         -- nor is a package that a script has beside Torch7; a definition's own files must be there
         local known = P.absent_packages[name] or P.absent_packages[match(name, '^[^.]+')]
         if bridge.kernels(name) or match(name, '^lib[%w_]+$') or known or P.end_of_file and match(name, '^%a[%w_-]*$') then
            bridge.missing(name)
            loaded[name] = P.absent_package(name)
            -- many packages leave a global of their name
            local left = match(name, '^%a[%w_]*')
            if rawget(_G, left) == nil and (left == name or known) then rawset(_G, left, loaded[name]) end
            return loaded[name]
         end
         error("module '" .. name .. "' not found: no file of that name below the folder of the definition", 2)
      end
      if loaded[file] ~= nil then return loaded[file] end
      loaded[name] = true
      value = run(file, name)
      if value == nil and loaded[name] ~= true then value = loaded[name] end
      loaded[file] = value == nil and true or value
   end
   if value == nil then value = true end
   loaded[name] = value
   return value
end

-- a package may replace methods of another, an author's file may not
local function as_package(f, ...)
   local before = P.in_package
   if not before then P.replaced_earlier = P.replaced_method() end
   P.in_package = true
   local value = f(...)
   P.in_package = before
   if not before then P.remember_classes() end
   return value
end
-- the product's own packages share P
local own = {}
function P.run_package(name)
   local f, message = P.loadstring(bridge.package(name), P.own .. name)
   if not f then error(message, 0) end
   return as_package(f, P)
end
-- a file of the user's checkout of a package; the product's other packages may stand on it
function P.run_torch7(file, name)
   local value = as_package(run, file, name)
   if name == 'nn' then
      P.part('nn.shared')
      -- these leave there what the memory held until their first run
      for name, fields in P.raw_pairs{
         ['nn.Reshape'] = {'batchsize'},
         ['nn.SpatialUpSamplingNearest'] = {'inputSize', 'outputSize'},
         ['nn.SpatialUpSamplingBilinear'] = {'inputSize', 'outputSize'},
         ['nn.SpatialSubtractiveNormalization'] = {'coef'},
         ['nn.SpatialDivisiveNormalization'] = {'coef'},
      } do
         local class = P.classes[name]
         local init = class and class.__init
         if init then
            function class:__init(...)
               init(self, ...)
               for _, field in ipairs(fields) do
                  if field == 'batchsize' and P.torch.isStorage(self[field]) then self[field][1] = 0
                  elseif P.torch.isStorage(self[field]) or P.torch.isTensor(self[field]) then self[field]:fill(0) end
               end
            end
         end
      end
   end
   return value
end
function P.part(name)
   if not own[name] then
      own[name] = true
      P.run_package(name)
   end
end

-- what definitions require and do not need
P.absent_packages = {}
for name in gmatch([[threads ffi hdf5 cjson json tds threads.threads gnuplot display itorch env trepl qt qtwidget csvigo audio
   loadcaffe lmdb luasocket socket signal posix async mattorch matio graphicsmagick gm npy4th autograd totem unsup signal
   fbcunn fbnn fb.util fbpython hdf5 torchnet tnt camera ffmpeg vips optnet weight-init argcheck tokenizer visdom
   pl penlight cunnx rnnlib nnconv1d libcuda_utils randomkit cephes zmq lzmq sqlite3 pprint logroll gfx stdlib sndfile
   distributions inn.utils fb thrift cutorch.test nn.test lsqlite3 rapidjson turbo protobuf libnn wget crypto md5 base64 dataload image.lena utf8 lua-utf8
   iterm iterm.dot fbtorch clnn cltorch luacov qtuiloader qttorch board gfx.js cutorch.nccl nccl libjpeg liblua_png torchzlib sundown statsd]], '%S+') do
   P.absent_packages[name] = true
end

for _, name in ipairs{'string', 'table', 'math', 'os', 'io', 'debug', 'bit', 'coroutine', 'package', 'jit', '_G', 'torch'} do
   loaded[name] = rawget(_G, name)
end
