"""Asks a URL with httpx, as an application would: the token comes from the environment."""

import os
import sys

import httpx

answer = httpx.get(sys.argv[1], headers={"Authorization": "Bearer " + os.environ["TICKETS_TOKEN"]}, timeout=30)
answer.raise_for_status()
print(answer.json()["method"])
