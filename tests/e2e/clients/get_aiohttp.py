"""Asks a URL with aiohttp (``trust_env`` makes it read the proxy variables): the token comes from the environment."""

import asyncio  # noqa: TID251  (aiohttp runs on nothing else)
import os
import sys

import aiohttp


async def main() -> None:
    headers = {"Authorization": "Bearer " + os.environ["TICKETS_TOKEN"]}
    async with aiohttp.ClientSession(trust_env=True, headers=headers) as session:
        async with session.get(sys.argv[1], raise_for_status=True) as answer:
            print((await answer.json())["method"])


asyncio.run(main())
