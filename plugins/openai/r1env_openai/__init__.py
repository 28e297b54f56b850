"""Models behind an OpenAI-compatible server: the engine `openai`, and the client that r1env-judge uses too."""

from typing import TYPE_CHECKING

from r1env.moved import lazy_exports

if TYPE_CHECKING:
    from r1env_openai.client import ChatClient, RequestError, ServerSettings, Usage

__version__ = "0.1.0"

__all__ = ["ChatClient", "RequestError", "ServerSettings", "Usage", "__version__"]

# The package `openai` takes a second to import, and listing the plugins imports this one.
__getattr__ = lazy_exports(__name__, {"r1env_openai.client": ("ChatClient", "RequestError", "ServerSettings", "Usage")})
