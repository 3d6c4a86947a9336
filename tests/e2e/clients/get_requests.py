"""Asks a URL with requests, as an application would: the token comes from the environment."""

import os
import sys

import requests

answer = requests.get(sys.argv[1], headers={"Authorization": "Bearer " + os.environ["TICKETS_TOKEN"]}, timeout=30)
answer.raise_for_status()
print(answer.json()["method"])
