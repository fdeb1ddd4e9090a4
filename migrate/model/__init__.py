"""From Lua values to a converted model: finding it, building it layer by layer, describing it."""
