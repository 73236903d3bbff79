"""Session refreshes (RFC 4028): sends them in time and ends sessions that expire. Pure.

We refresh by UPDATE if the peer allows it (RFC 3311), else by a re-INVITE with our last description unchanged. Its
answer becomes `SessionRefreshed`, since the peer may move its media or hold the call with it (RFC 3264 section 8). A
refresh that fails is repeated until the session expires, except after 408 and 481, which end the session (RFC 4028
section 10).
"""

from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, contact, reason_value
from trunkline.sip.dialog_store import DialogRequest, DialogStore, Purpose
from trunkline.sip.message.bodies import session_description
from trunkline.sip.message.validation import Rejection, SipMessage, SipResponse
from trunkline.sip.session_timer import SessionTimer, min_se_of, negotiate_uac, request_headers
from trunkline.sip.values import SessionRefreshed

RETRY_FACTOR = 0.05
"""Part of the session interval until a failed refresh is sent again."""
GLARE_RETRY = (1.0, 3.0)
"""Seconds until it is sent again after 491, as the called and the calling side; different, so that the two sides do not
collide again (RFC 3261 section 14.1)."""


def allows_update(message: SipMessage) -> bool:
    """Whether the sender of a message allows UPDATE."""
    return "UPDATE" in message.listed("allow")


def start(store: DialogStore, dialog: Dialog, session_timer: SessionTimer | None) -> None:
    """Start the session timer, at the start of the session and after each refresh. None: the session does not
    expire."""
    dialog.cancel_timers()
    dialog.session_timer = session_timer
    if session_timer is not None:
        dialog.timers.append(store.timers.after(session_timer.expire_after, _expired, store, dialog))
        if session_timer.we_refresh:
            _refresh_after(store, dialog, session_timer.refresh_after, session_timer.interval)


def _expired(store: DialogStore, dialog: Dialog) -> None:
    store.give_up(dialog, "session expired", reason_value(408, "session expired"))


def _refresh_after(store: DialogStore, dialog: Dialog, seconds: float, interval: int) -> None:
    dialog.timers.append(store.timers.after(seconds, _refresh, store, dialog, interval))


def _refresh(store: DialogStore, dialog: Dialog, interval: int) -> None:
    if dialog.state is DialogState.CLOSING:
        return
    if dialog.state is not DialogState.CONFIRMED or dialog.invite is not None or dialog.offer_pending:
        _refresh_after(store, dialog, RETRY_FACTOR * interval, interval)
        return
    store.counters["session_refreshes"] += 1
    dialog.refresh_interval = interval
    headers = (
        contact(dialog.flow),
        *CAPABILITIES,
        *request_headers(interval, max(store.settings.min_se, dialog.min_se), we_refresh=True),
    )
    if dialog.allows_update:
        store.send(DialogRequest(dialog, "UPDATE", Purpose.REFRESH, headers))
    else:
        dialog.offer_pending = True
        store.send(DialogRequest(dialog, "INVITE", Purpose.REFRESH, headers, dialog.sdp))


def refreshed(store: DialogStore, dialog: Dialog, response: SipResponse) -> None:
    """The final response to a refresh."""
    interval = dialog.refresh_interval
    dialog.offer_pending = False
    if dialog.state is not DialogState.CONFIRMED:
        return
    if 200 <= response.status < 300:
        start(store, dialog, negotiate_uac(response, store.settings.min_se))
        if response.cseq[1] == "INVITE":
            _report_answer(store, dialog, response)
    elif response.status in (408, 481):
        detail = f"the peer is gone: {response.status} to the session refresh"
        store.give_up(dialog, detail, reason_value(408, "peer gone"))
    elif response.status == 422 and min_se_of(response) > interval:
        dialog.min_se = min_se_of(response)
        _refresh_after(store, dialog, 0, dialog.min_se)
    elif response.status in (405, 501) and dialog.allows_update:
        dialog.allows_update = False
        _refresh_after(store, dialog, 0, interval)
    elif response.status == 491:
        _refresh_after(store, dialog, GLARE_RETRY[dialog.is_uac], interval)
    else:
        _refresh_after(store, dialog, RETRY_FACTOR * interval, interval)


def _report_answer(store: DialogStore, dialog: Dialog, response: SipResponse) -> None:
    """An answer that cannot be parsed changes nothing: the session was refreshed all the same."""
    try:
        answer = session_description(response)
    except Rejection:
        store.counters["bad_answers"] += 1
        return
    if answer is not None and dialog.id in store.by_id:
        store.events.append(SessionRefreshed(dialog.id, answer))
