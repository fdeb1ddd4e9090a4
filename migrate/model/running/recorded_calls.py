"""How torch.fx sees the layers of converters/: as it sees those of torch.nn, whole.

What such a layer does may depend on the dimensions and the sizes of its input, which torch.fx does not know.
"""

from __future__ import annotations

from typing import Any

from torch import fx, nn


def record_calls(cls: type[nn.Module]) -> None:
    """Lets torch.fx record a call of a class of layers, in place of what `forward` does."""
    setattr(cls, "__call__", _call)  # noqa: B010 - the type of an instance says what a call is


class TypedTracer(fx.Tracer):
    """A tracer that follows some of these calls, since it knows what they are given."""

    def knows(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """Is a call of a layer followed?"""
        return False


def _call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    proxy = _first_proxy(args)
    if proxy is None:
        return nn.Module.__call__(module, *args, **kwargs)
    tracer: Any = proxy.tracer
    if isinstance(tracer, TypedTracer) and tracer.knows(module, args):
        return nn.Module.__call__(module, *args, **kwargs)
    return tracer.create_proxy("call_module", tracer.path_of_module(module), args, kwargs)


def _first_proxy(value: Any) -> fx.Proxy | None:
    if isinstance(value, fx.Proxy):
        return value
    if isinstance(value, (list, tuple)):
        for item in value:
            found = _first_proxy(item)
            if found is not None:
                return found
    return None
