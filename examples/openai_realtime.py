"""Connects calls to OpenAI's Realtime API: `OPENAI_API_KEY=sk-… python openai_realtime.py`. Both sides speak PCMU, so
that audio is passed on as it is."""

import asyncio
import json
import os

import websockets

URL = os.environ.get("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime?model=gpt-realtime")
HEADERS = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
SESSION = {
    "type": "realtime",
    "instructions": "You answer the phone. Be brief and friendly.",
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
    },
}


class Bridge:
    """One call."""

    def __init__(self, phone, model):
        self.phone, self.model = phone, model
        self.item, self.sent, self.heard = None, 0, 0  # what the model says; milliseconds of it

    async def from_phone(self):
        async for text in self.phone:
            message = json.loads(text)
            match message["event"]:
                case "media":
                    audio = message["media"]["payload"]
                    await self.model.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                case "mark":  # the caller has heard the audio before it
                    item, _, milliseconds = message["mark"]["name"].rpartition(" ")
                    if item == self.item:
                        self.heard = int(milliseconds)
        await self.model.close()

    async def from_model(self):
        async for text in self.model:
            event = json.loads(text)
            match event["type"]:
                case "session.updated":  # the model greets the caller
                    await self.model.send(json.dumps({"type": "response.create"}))
                case "response.output_audio.delta" | "response.audio.delta":
                    await self.play(event["item_id"], event["delta"])
                case "input_audio_buffer.speech_started":
                    await self.interrupt()
                case "error":
                    print("OpenAI:", event["error"]["message"], flush=True)

    async def play(self, item, audio):
        if item != self.item:
            self.item, self.sent, self.heard = item, 0, 0
        self.sent += len(audio) * 3 // 4 // 8  # base64; 8 bytes are 1 ms
        await self.phone.send(json.dumps({"event": "media", "media": {"payload": audio}}))
        await self.phone.send(json.dumps({"event": "mark", "mark": {"name": f"{item} {self.sent}"}}))

    async def interrupt(self):
        """The caller speaks: drop what is queued, and let the model know what was heard of it."""
        await self.phone.send(json.dumps({"event": "clear"}))
        if self.item and self.heard < self.sent:
            cut = {"item_id": self.item, "content_index": 0, "audio_end_ms": self.heard}
            await self.model.send(json.dumps({"type": "conversation.item.truncate", **cut}))
        self.item = None


async def bot(phone):
    async with websockets.connect(URL, additional_headers=HEADERS) as model:
        await model.send(json.dumps({"type": "session.update", "session": SESSION}))
        bridge = Bridge(phone, model)
        hearing = asyncio.create_task(bridge.from_phone())
        try:
            await bridge.from_model()
        finally:
            hearing.cancel()


async def main():
    async with websockets.serve(bot, "127.0.0.1", 9000):
        await asyncio.Future()


asyncio.run(main())
