"""Places a call for a bot by the official SDK: `python place_call.py sip:alice@192.0.2.20 ws://127.0.0.1:9000/`.
`eval "$(trunkline env)"` names the server."""

import os
import sys
import time

import telnyx

account, (called, bot) = os.environ["TRUNKLINE_ACCOUNT_SID"], sys.argv[1:]
calls = telnyx.Telnyx().texml.accounts.calls  # by TELNYX_API_KEY and TELNYX_BASE_URL
stream = f'<Response><Connect><Stream url="{bot}" bidirectionalMode="rtp"/></Connect></Response>'
placed = calls.calls(account, body={"to": called, "from_": "+13125550100", "texml": stream})
sid, status = placed.model_extra["sid"], None
print("placed", sid, flush=True)
while status not in ("completed", "busy", "no-answer", "canceled", "failed"):
    time.sleep(0.5)
    call = calls.retrieve(sid, account_sid=account)
    if call.status != status:
        status = call.status
        print(status, flush=True)
