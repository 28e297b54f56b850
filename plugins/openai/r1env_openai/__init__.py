"""Models behind an OpenAI-compatible server: the engine `openai`, and the client that r1env-judge uses too."""

from r1env_openai.client import ChatClient, RequestError, ServerSettings, Usage

__all__ = ["ChatClient", "RequestError", "ServerSettings", "Usage"]
__version__ = "0.1.0"
