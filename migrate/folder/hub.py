"""model.py whose class comes from the Hugging Face Hub, and goes there, with `huggingface_hub`."""

from __future__ import annotations

import re
from dataclasses import replace

from ..source.generate import Source
from ..source.writing.layout import formatted

#: The method of model.py that the base class has too.
_OWN = re.compile(
    r"    def from_pretrained\(cls, .*? -> (?P<returned>\"?\w+\"?):\n.*?        return model\.to\(device\)\n", re.DOTALL
)

#: What the base class asks for the model; its own would not say which weights a file lacks.
_LOADS = '''    def _from_pretrained(
        cls, *, model_id: str, map_location: str = "cpu", device: str | None = None, **options: str | bool | None
    ) -> {}:
        """The model with the weights of a folder, or of a repository of the Hub, in evaluation mode."""
        try:
            state = load_file(f"{{model_id}}/model.safetensors")
        except FileNotFoundError:
            state = load_file(hf_hub_download(model_id, "model.safetensors", **options))
        model = cls().eval()
        model.load_state_dict(state)
        return model.to(device or map_location)
'''

_LOAD_FILE = "from safetensors.torch import load_file\n"


def with_hub(source: Source) -> Source:
    """The same source, whose class extends `huggingface_hub.PyTorchModelHubMixin` too."""
    own = _OWN.search(source.text)
    line = f"class {source.name}(nn.Module):\n"
    assert own is not None
    assert line in source.text
    text = source.text.replace(own[0], _LOADS.format(own["returned"]))
    text = text.replace(line, f"class {source.name}(nn.Module, PyTorchModelHubMixin):\n")
    imports = f"from huggingface_hub import PyTorchModelHubMixin, hf_hub_download\n{_LOAD_FILE}"
    return replace(source, text=formatted(text.replace(_LOAD_FILE, imports, 1)))
