-- pl.lapp: options of a script from the text that explains them, by the rules of Penlight.
local P = ...
local type, error, tostring, tonumber, ipairs, setmetatable = type, error, tostring, tonumber, ipairs, setmetatable
local rawget, rawset = rawget, rawset
local match, gmatch, gsub, sub, find = string.match, string.gmatch, string.gsub, string.sub, string.find
local lapp = {}
local files = {stdin = true, stdout = true, stderr = true}

local function refused(text) error(P.where() .. 'lapp: ' .. text, 0) end
local function key(name) return (gsub(name, '%W', '_')) end
local function as(option, text)
   if option.kind == 'number' then
      return tonumber(text) or refused('unable to convert to number: ' .. text)
   end
   if option.kind == 'file' then return P.absent end
   return text
end

-- what stands in the brackets: a type, 'optional', a default
local function described(option, text)
   local kind, default = match(text, '^(.-)%s*default%s+(.+)$')
   if text == 'default' then default = '' end
   kind = kind or text
   if match(kind, '^optional%s') then
      option.optional = true
      kind = match(kind, '^optional%s+(.+)$')
   end
   if kind ~= '' and kind ~= 'number' and kind ~= 'string' and not match(kind, '^file') then refused(kind .. ' is unknown type') end
   option.kind = match(kind, '^file') and 'file' or kind ~= '' and kind or nil
   if not default then return end
   default = gsub(default, '%s+$', '')
   local number = option.kind ~= 'string' and tonumber(default)
   if number then
      option.kind, option.default = 'number', number
   elseif files[default] then
      option.kind, option.default = 'file', P.absent
   elseif default == 'true' and not option.kind then
      option.kind, option.default = 'boolean', true
   else
      if match(default, '^["\']') then default = sub(default, 2, -2) end
      option.kind = option.kind or 'string'
      option.default = as(option, default)
   end
end

local function read(spec)
   local options, list, positions = {}, {}, {}
   for line in gmatch(spec, '[^\n]+') do
      local option, rest = {}, nil
      local short, long, after = match(line, '^%s*%-(%a),%s*%-%-([%w_%-]+)(.*)$')
      if not long then long, after = match(line, '^%s*%-%-([%w_%-]+)(.*)$') end
      if not long then short, after = match(line, '^%s*%-(%a)(.*)$') end
      local name = not after and match(line, '^%s*<([%w_%-]+)>')
      if name then after = match(line, '^%s*<[%w_%-]+>(.*)$') end
      if after then
         option.name = key(long or short or name)
         rest = match(after, '^%s*%.%.%.(.*)$')
         option.several = rest ~= nil
         local brackets = match(rest or after, '^%s*%(([^)]+)%)')
         if brackets then
            described(option, brackets)
         elseif name then
            option.kind = 'string'
         else
            option.kind, option.default = 'boolean', false
         end
         option.kind = option.kind or 'string'
         list[#list + 1] = option
         if name then positions[#positions + 1] = option end
         for _, given in ipairs{short or '', long or ''} do options[given] = option end
      end
   end
   return options, list, positions
end

local function parsed(spec, given)
   local options, list, positions = read(spec)
   local values, at, place = {}, 1, 0
   local function set(option, value)
      if not option.several then
         values[option.name] = value
         return
      end
      values[option.name] = values[option.name] or {}
      values[option.name][#values[option.name] + 1] = value
   end
   local function value_of(option, attached)
      if option.kind == 'boolean' then return not option.default end
      if not attached then
         at = at + 1
         attached = given[at] or refused(option.name .. ' was expecting a value')
      end
      return as(option, tostring(attached))
   end
   while at <= #given do
      local text = tostring(given[at])
      local long, short = match(text, '^%-%-(.+)$'), match(text, '^%-(%a.*)$')
      if long then
         local name, attached = match(long, '^([^=]+)=(.*)$')
         local option = options[name or long] or refused('unrecognized parameter: ' .. (name or long))
         set(option, value_of(option, attached))
      elseif short then
         while short ~= '' do
            local letter = sub(short, 1, 1)
            local option = options[letter] or refused('unrecognized parameter: ' .. letter)
            short = sub(short, 2)
            local attached = option.kind ~= 'boolean' and short ~= '' and gsub(short, '^=', '') or nil
            set(option, value_of(option, attached))
            if attached then short = '' end
         end
      else
         place = place + 1
         local option = positions[place] or (positions[#positions] and positions[#positions].several and positions[#positions])
         if option then set(option, as(option, text)) else values[place] = text end
      end
      at = at + 1
   end
   for _, option in ipairs(list) do
      if values[option.name] == nil then values[option.name] = P.told(option.name, option.kind, option.default) end
      if values[option.name] == nil then
         if option.default == nil and not option.optional then refused('missing required parameter: ' .. option.name) end
         values[option.name] = option.default
         if option.several and option.default ~= nil then values[option.name] = {option.default} end
      end
   end
   return values
end

setmetatable(lapp, {__call = function(_, spec, given)
   if type(spec) ~= 'string' then refused('the text of the options is expected') end
   return parsed(spec, given or (type(arg) == 'table' and arg) or {})
end})
function lapp.add_type(name) refused('types of one\'s own aren\'t implemented: ' .. tostring(name)) end
function lapp.error(text) refused(tostring(text)) end
lapp.quit = lapp.error
if rawget(_G, 'lapp') == nil then rawset(_G, 'lapp', lapp) end      -- as `require 'pl'` leaves it
return lapp
