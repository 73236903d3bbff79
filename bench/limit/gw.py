# Kept as it was when the figures were measured, so not brought to the style of the house.
# ruff: noqa: B023, C901, E401, E501, F401, I001, RUF006, RUF023, SIM105, T201, UP031
# fmt: off
"""Reference: optimised pure-Python hot path: uvloop + picows + hand-formatted JSON + one shared pacing tick.

gw.py -n N -p UDP_BASE -w WS_PORT [-b] [-c CPU] [--rx proto|reader|epoll|lazy] [--tls] [--busy MS] [--heap N] [--gc default|freeze|off]
  --rx proto   loop.create_datagram_endpoint        reader  loop.add_reader per UDP socket
       epoll   one own epoll of all UDP sockets, watched by the loop (one callback drains a batch)
       lazy    the same, drained by a timer every --lazy-ms
  --busy MS    a second Python thread that computes all the time in slices of MS (control plane, GIL effect)
  --load MS    the same work in the loop's own thread: a coroutine that computes MS ms, 10 times a second
  --heap N     N live container objects (GC effect), --churn: makes garbage so that collections happen
"""
import argparse, asyncio, gc, os, select, socket, ssl, sys, threading, time
from binascii import a2b_base64, b2a_base64
from struct import Struct
import uvloop
from picows import ws_connect, WSListener, WSMsgType, WSFrame, WSTransport
import orjson

ap = argparse.ArgumentParser()
ap.add_argument("-n", type=int, default=100)
ap.add_argument("-p", type=int, default=20000)
ap.add_argument("-s", type=int, default=2)
ap.add_argument("-w", type=int, default=9000)
ap.add_argument("-b", action="store_true")
ap.add_argument("-c", type=int, default=-1)
ap.add_argument("--rx", default="epoll")
ap.add_argument("--lazy-ms", type=float, default=5)
ap.add_argument("--tls", action="store_true")
ap.add_argument("--gc", default="freeze")
ap.add_argument("--busy", type=float, default=0)
ap.add_argument("--load", type=float, default=0)
ap.add_argument("--heap", type=int, default=0)
ap.add_argument("--churn", action="store_true")
ap.add_argument("--switch", type=float, default=0)
A = ap.parse_args()
if A.c >= 0:
    os.sched_setaffinity(0, {A.c})

NUM = [b"%d" % i for i in range(65536)]
NUM20 = [b"%d" % (i * 20) for i in range(65536)]
TEXT = WSMsgType.TEXT
PRE = b'{"event":"media","sequence_number":"'
M1 = b'","media":{"track":"inbound","chunk":"'
M2 = b'","timestamp":"'
M3 = b'","payload":"'
HDR = Struct("!BBHI")
SLOTS = 4
TICK = 0.020 / SLOTS


class Stream(WSListener):
    __slots__ = ("i", "sock", "ws", "chunk", "post", "peer", "frames", "out", "seq", "ts", "send_udp", "send_ws", "recv")

    def __init__(self, i):
        self.i = i
        self.chunk = 0
        self.post = b'"},"stream_id":"32de0dea-53cb-4b21-89a4-%012x"}' % i
        self.peer = None
        self.frames = bytearray()
        self.out = bytearray(172)
        self.out[8:12] = os.urandom(4)
        self.seq = self.ts = 0

    # --- forward path
    def on_rtp(self, data):
        c = self.chunk = self.chunk + 1
        self.send_ws(TEXT, b"".join((PRE, NUM[c + 1], M1, NUM[c], M2, NUM20[c - 1], M3, b2a_base64(data[12:], newline=False), self.post)))

    def readable(self):
        if self.peer is None:
            data, self.peer = self.sock.recvfrom(2048)
            if A.b:
                self.sock.connect(self.peer)
        else:
            data = self.recv(2048)
        c = self.chunk = self.chunk + 1
        self.send_ws(TEXT, b"".join((PRE, NUM[c + 1], M1, NUM[c], M2, NUM20[c - 1], M3, b2a_base64(data[12:], newline=False), self.post)))

    # --- return path
    def on_ws_connected(self, transport):
        self.ws = transport
        self.send_ws = transport.send

    def on_ws_frame(self, transport, frame):
        if frame.msg_type == TEXT:
            d = orjson.loads(frame.get_payload_as_memoryview())
            if d["event"] == "media":
                self.frames += a2b_base64(d["media"]["payload"])

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass


class Leg(asyncio.DatagramProtocol):
    def __init__(self, s):
        self.s = s

    def connection_made(self, t):
        self.s.udp = t

    def datagram_received(self, data, addr):
        self.s.on_rtp(data)


def pace(slots, k):
    for s in slots[k]:
        f = s.frames
        if len(f) >= 160:
            o = s.out
            s.seq = (s.seq + 1) & 0xffff
            s.ts = (s.ts + 160) & 0xffffffff
            HDR.pack_into(o, 0, 0x80, 0, s.seq, s.ts)
            o[12:] = f[:160]
            del f[:160]
            try:
                s.send_udp(o)
            except OSError:
                pass


async def main():
    loop = asyncio.get_running_loop()
    ctx = None
    if A.tls:
        ctx = ssl.create_default_context()
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
    url = ("wss" if A.tls else "ws") + "://127.0.0.1:%d/" % A.w
    streams = [Stream(i) for i in range(A.n)]
    if A.heap:
        globals()["HEAP"] = [{"a": [i], "b": (i,)} for i in range(A.heap // 2)]
    sem = asyncio.Semaphore(20)

    async def go(i):
        s = streams[i]
        async with sem:
            await ws_connect(lambda: s, url, ssl_context=ctx, websocket_handshake_timeout=60, read_buffer_init_size=2048)
    await asyncio.gather(*[go(i) for i in range(A.n)])
    ep = select.epoll()
    by_fd = {}
    for i, s in enumerate(streams):
        if A.rx == "proto":
            await loop.create_datagram_endpoint(lambda: Leg(s), local_addr=("0.0.0.0", A.p + i * A.s))
            continue
        s.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.sock.setblocking(False)
        s.sock.bind(("0.0.0.0", A.p + i * A.s))
        s.recv = s.sock.recv
        s.send_udp = s.sock.send
        if A.rx == "reader":
            loop.add_reader(s.sock.fileno(), s.readable)
        else:
            ep.register(s.sock.fileno(), select.EPOLLIN)
            by_fd[s.sock.fileno()] = s.readable
    if A.rx in ("epoll", "lazy"):
        poll = ep.poll

        def drain():
            for fd, _ in poll(0, 1024):
                try:
                    by_fd[fd]()
                except BlockingIOError:
                    pass
        if A.rx == "epoll":
            loop.add_reader(ep.fileno(), drain)
        else:
            async def lazy():
                nxt = time.monotonic()
                while True:
                    drain()
                    nxt += A.lazy_ms / 1000
                    await asyncio.sleep(nxt - time.monotonic())
            asyncio.create_task(lazy())
    if A.b:
        slots = [streams[k::SLOTS] for k in range(SLOTS)]
        state = [0, time.monotonic()]

        def tick():
            k, due = state
            now = time.monotonic()
            while due <= now:
                pace(slots, k)
                k = (k + 1) % SLOTS
                due += TICK
            state[:] = k, due
            loop.call_later(max(0, due - time.monotonic()), tick)
        tick()
    if A.gc == "freeze":
        gc.collect()
        gc.freeze()
    elif A.gc == "off":
        gc.disable()

    def work(ms):
        t = time.perf_counter() + ms / 1000
        n = 0
        while time.perf_counter() < t:
            n += sum(range(200))
        return n
    if A.switch:
        sys.setswitchinterval(A.switch)
    if A.busy:
        def bg():
            while True:
                work(A.busy)
                time.sleep(A.busy / 1000)
        threading.Thread(target=bg, daemon=True).start()
    if A.load:
        async def ld():
            while True:
                work(A.load)
                await asyncio.sleep(0.1)
        asyncio.create_task(ld())
    if A.churn:
        async def churn():
            keep = []
            while True:
                for _ in range(2000):
                    a = {}
                    a["self"] = a
                    keep.append([a])
                if len(keep) > 50000:
                    del keep[:]
                await asyncio.sleep(0.02)
        asyncio.create_task(churn())
    print("READY", file=sys.stderr, flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
