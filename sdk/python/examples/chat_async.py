import asyncio
import sys

from baton_client import AsyncClient


async def main():
    async with AsyncClient(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000") as client:
        async for text in client.chat("What is a KV cache?").texts():
            print(text, end="", flush=True)


asyncio.run(main())
