"""Plays an mp3 file to the caller, and ends the stream when it has been heard: `python play_mp3.py greeting.mp3`."""

import asyncio
import base64
import json
import sys
from pathlib import Path

import websockets

FILE = base64.b64encode(Path(sys.argv[1]).read_bytes()).decode()


async def play(ws):
    async for text in ws:
        message = json.loads(text)
        match message["event"]:
            case "start":  # of a stream with BidirectionalMode=mp3, the default
                await ws.send(json.dumps({"event": "media", "media": {"payload": FILE}}))
                await ws.send(json.dumps({"event": "mark", "mark": {"name": "heard"}}))
            case "mark":  # comes back when what is before it has been played
                print("the caller has heard it", flush=True)
                return
            case "error":
                print("refused:", message["payload"], flush=True)


async def main():
    async with websockets.serve(play, "127.0.0.1", 9000):
        await asyncio.Future()


asyncio.run(main())
