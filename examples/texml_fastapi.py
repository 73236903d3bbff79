"""A TeXML app with a menu, and its bot, in FastAPI: `uvicorn texml_fastapi:app --port 8000`."""

import json

from fastapi import FastAPI, Request, Response, WebSocket

app = FastAPI()


def texml(verbs):
    return Response(f"<Response>{verbs}</Response>", media_type="application/xml")


@app.post("/voice")
async def voice(request: Request):
    form = await request.form()
    print("call from", form["From"], flush=True)
    return texml('<Gather numDigits="1" action="/choice"><Say>Press 1 for the bot.</Say></Gather><Say>Goodbye.</Say>')


@app.post("/choice")
async def choice(request: Request):
    form = await request.form()
    if form["Digits"] != "1":
        return texml("<Redirect>/voice</Redirect>")
    url = f"ws://{request.url.netloc}/bot"
    return texml(f'<Connect><Stream url="{url}" bidirectionalMode="rtp" statusCallback="/events"/></Connect>')


@app.post("/events")
async def events(request: Request):
    form = await request.form()
    print(form["StreamEvent"], flush=True)


@app.websocket("/bot")
async def bot(ws: WebSocket):
    await ws.accept()
    async for text in ws.iter_text():
        message = json.loads(text)
        if message["event"] == "media":
            await ws.send_json({"event": "media", "media": {"payload": message["media"]["payload"]}})
