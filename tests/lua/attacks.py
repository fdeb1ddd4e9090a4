"""What an author's Lua may try, wherever it runs."""

from __future__ import annotations

#: It calls itself until there is no stack left.
RECURSIVE_GSUB = "local function f(s) return s:gsub('.', f) end return f('x')"

#: Each ends with an error.
REFUSED = [
    "os.execute('id')",
    "os.remove('x')",
    "os.exit(1)",
    "package.loadlib('libc.so.6', '*')",
    "assert(loadstring('\\27LJ\\2\\2'))",
    "assert(loadstring('\\27Lua'))",
    "assert(load(function() return '\\27LJ' end))",
    "dofile('/etc/passwd')",
    "dofile('../../../../../../../../etc/passwd')",
    "require('......etc.passwd')",
    "package.path = '/etc/?;../../../../../../?' require('passwd')",
    "loadfile('/etc/passwd')",
    "torch.Tensor(1e12)",
    "torch.Tensor(1):expand(1e9):clone()",
    "torch.Tensor(10):repeatTensor(1e9)",
    "torch.range(1, 1e12)",
    "torch.FloatStorage(1e12)",
    "torch.Tensor(0/0)",
    "torch.Tensor(torch.FloatStorage(4), 1, torch.LongStorage{100}, torch.LongStorage{1})",
    "torch.FloatTensor():set(torch.FloatStorage(4), 3, 100, 1)",
    "torch.FloatTensor():set(torch.FloatStorage(4), -3, 2, 1)",
    "torch.randn(3):index(1, torch.LongTensor{5})",
    "torch.randn(3, 3):gather(1, torch.LongTensor{{9, 9, 9}})",
    "torch.zeros(3):scatter(1, torch.LongTensor{9}, 1)",
    "torch.randn(3):apply(function(x) return {} end)",
    "torch.randn(3):apply(function(x) error('no') end)",
    "torch.cat(1, 2, 3)",
    "local s = ('x'):rep(1e9) return #s",
    "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "local function f() return 1 + f() end return f()",
    RECURSIVE_GSUB,
    "table.sort({1, 2, 3, 1, 2, 3, 1, 2, 3}, function() return error('no') end)",
    "return ('%99999d'):format(1)",
    "string.dump(function() end)",
    "getmetatable('').__index = function() return 'x' end",
    "coroutine.create(1)",
    "getfenv(1)",
    "setfenv(1, {})",
    "return newproxy(true)",
    "module('x')",
    "getmetatable(nn).x = 1",
    "torch.Tensor(-5)",
    "local f = require 'ffi' f.cdef('int getpid();') return torch.zeros(2):fill(f.C.getpid())",
    "return require('jit.util')",
    "return require('string.buffer')",
    "return require('table.new')",
    "local ok, e = pcall(function() return torch.zeros(2):narrow(1, 9, 9) end) return e.__class__.__mro__",
    "local ok, e = coroutine.resume(coroutine.create(function() torch.mm(1, 2) end)) return e.args[1]",
]

#: None of these is there.
NOT_THERE = [
    "python",
    "debug.getregistry",
    "debug.sethook",
    "debug.getupvalue",
    "debug.getmetatable",
    "debug.setmetatable",
    "debug.getlocal",
    "debug.getfenv",
    "package.loaded.ffi",
    "package.preload.ffi",
    "package.loaders[1]",
    "string.dump",
    "newproxy",
    "module",
    "jit.util",
    "ffi",
]

#: Each gives the type of an error that came from Python.
FAULTS = [
    "local ok, e = pcall(function() return torch.randn(2):narrow(1, 9, 9) end) return type(e)",
    "local ok, e = xpcall(function() return torch.zeros(2):sum(9) end, function(e) return type(e) end) return e",
    "local ok, e = coroutine.resume(coroutine.create(function() return torch.zeros(2):sum(9) end)) return type(e)",
    "local ok, e = pcall(torch.mm, 1, 2) return type(e)",
    "local ok, e = pcall(function() return torch.zeros(2):apply(function() error('x') end) end) return type(e)",
    "local ok, e = pcall(function() return torch.zeros(2):apply(print.x) end) return type(e)",
]

#: Looks for what stands behind tensors; gives the names of what it found.
SEARCH = """
local x, found = torch.zeros(2), {}
local seen = {}
local function look(v, depth)
   if type(v) ~= 'table' or seen[v] or depth > 6 then
      if type(v) == 'userdata' and not torch.typename(v) then found[#found + 1] = tostring(v) end
      return
   end
   seen[v] = true
   for k, w in next, v do look(k, depth + 1) look(w, depth + 1) end
   local mt = getmetatable(v)
   look(mt, depth + 1)
end
look(_G, 0)
look(getmetatable(x), 0)
look(torch.getmetatable('torch.FloatTensor'), 0)
return table.concat(found, ' ')
"""

#: What reads files, or runs programs: nothing is read and none is run, and what they give can be part of no result.
NOT_READ = [
    "io.popen('id')",
    "io.lines('/etc/passwd')",
    "io.open('/etc/passwd'):read('*a')",
    "assert(io.open('/etc/passwd')):read('*a')",
    "torch.DiskFile('/etc/passwd')",
]
