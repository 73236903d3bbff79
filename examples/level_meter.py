"""Shows how loud each track of a call is, once a second. A transcriber gets its samples in the same way."""

import asyncio
import base64
import json
import math

import websockets


def sample(code):
    """16-bit sample of a byte of PCMU (ITU-T G.711, mu-law)."""
    code = ~code & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -size if code & 0x80 else size


SAMPLES = [sample(code) for code in range(256)]


async def listen(ws):
    second = {}
    async for text in ws:
        message = json.loads(text)
        if message["event"] != "media":
            continue
        track = message["media"]["track"]
        heard = second.setdefault(track, [])
        heard += [SAMPLES[code] for code in base64.b64decode(message["media"]["payload"])]
        if len(heard) >= 8000:  # a transcriber is given these samples
            print(f"{track:8} {level(second.pop(track)):4.0f} dBFS", flush=True)


def level(samples):
    power = sum(one * one for one in samples) / len(samples)
    return 10 * math.log10(max(power, 1) / 32768**2)


async def main():
    async with websockets.serve(listen, "127.0.0.1", 9000):
        await asyncio.Future()


asyncio.run(main())
