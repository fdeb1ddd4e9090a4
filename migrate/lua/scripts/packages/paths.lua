-- paths: names of files, and the files below the folder of the definition.
local P = ...
local select, concat, type, error, ipairs = select, table.concat, type, error, ipairs
paths = {}
function paths.concat(...)
   local parts = {}
   for i = 1, select('#', ...) do
      local part = (select(i, ...))
      if type(part) == 'string' and part ~= '' then parts[#parts + 1] = part end
   end
   return concat(parts, '/')
end
function paths.basename(path, suffix)
   local name = path:match('([^/]*)$')
   if suffix and name:sub(-#suffix) == suffix then name = name:sub(1, -#suffix - 1):gsub('%.$', '') end
   return name
end
function paths.dirname(path) return path:match('^(.*)/[^/]*$') or '.' end
function paths.extname(path) return path:match('%.([^./]*)$') end
function paths.filep(path) return P.is_file(path) end
-- a script that runs for its options alone finds the folders of data that these name
function paths.dirp(path) return P.watched_file ~= nil or P.bridge.entries(path) ~= nil end
function paths.mkdir() return true end
function paths.cwd() return '.' end
function paths.home() return '.' end
function paths.is_win() return false end
function paths.is_mac() return false end
-- names in a folder; no operating system says in which order, so that the second run has the other
local function listed(path)
   local files, folders = P.bridge.entries(path)
   if not files then return nil end
   local function turned(names)
      if not P.reversed then return names end
      local other = {}
      for i = #names, 1, -1 do other[#other + 1] = names[i] end
      return other
   end
   return turned(files), turned(folders)
end
local function each(names)
   local at = 0
   return function()
      at = at + 1
      return names[at]
   end
end
function paths.dir(path)
   local files, folders = listed(path)
   if not files then return nil end
   local all = {'.', '..'}
   for _, name in ipairs(files) do all[#all + 1] = name end
   for _, name in ipairs(folders) do all[#all + 1] = name end
   return all
end
-- paths.files(folder, [text that names hold, or function that chooses them])
function paths.files(path, chosen)
   local kept = {}
   for _, name in ipairs(paths.dir(path) or {}) do
      local take = chosen == nil or (type(chosen) == 'function' and chosen(name)) or (type(chosen) == 'string' and name:find(chosen))
      if take then kept[#kept + 1] = name end
   end
   return each(kept)
end
function paths.iterfiles(path) return each((listed(path)) or {}) end
function paths.iterdirs(path) return each(select(2, listed(path)) or {}) end
-- relative to the file that calls
function paths.thisfile(name)
   local folder = P.beside_caller(2)
   return name and P.join(folder, name) or folder
end
function paths.dofile(name)
   local beside = P.join(P.beside_caller(2), name)
   return P.run_file(P.bridge.find(beside) and beside or P.located(name))
end
paths.require = require
return paths
