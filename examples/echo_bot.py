"""Sends back what it hears."""

import asyncio
import json

import websockets


async def bot(ws):
    async for text in ws:
        message = json.loads(text)
        match message["event"]:
            case "start":
                print("call from", message["start"]["from"], flush=True)
            case "media":  # 20 ms of the caller's audio, PCMU in base64
                await ws.send(json.dumps({"event": "media", "media": {"payload": message["media"]["payload"]}}))
            case "dtmf":
                print("key", message["dtmf"]["digit"], flush=True)
            case "stop":
                print("the call is over", flush=True)


async def main():
    async with websockets.serve(bot, "127.0.0.1", 9000):
        await asyncio.Future()


asyncio.run(main())
