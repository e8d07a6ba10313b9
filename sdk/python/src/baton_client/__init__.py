"""Client of Baton's gRPC door, synchronous and asyncio.

    from baton_client import Client
    with Client("127.0.0.1:9000") as client:
        for text in client.chat("What is a KV cache?").texts():
            print(text, end="", flush=True)
"""
from .aio import AsyncClient, AsyncGeneration
from .client import Client, Generation
from .errors import (BatonError, Cancelled, DeadlineExceeded, InternalError, InvalidRequest, NotFound, Overloaded,
                     PermissionDenied, Unavailable)
from .values import Answer, Delta, Event, Finished, Message, Model, Prompt, Sampling, Started, Token, Usage

__all__ = [
    "Answer", "AsyncClient", "AsyncGeneration", "BatonError", "Cancelled", "Client", "DeadlineExceeded", "Delta",
    "Event", "Finished", "Generation", "InternalError", "InvalidRequest", "Message", "Model", "NotFound", "Overloaded",
    "PermissionDenied", "Prompt", "Sampling", "Started", "Token", "Unavailable", "Usage",
]
__version__ = "0.1.0"
