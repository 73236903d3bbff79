"""Keeping sessions alive, and ending those that are not (RFC 4028): pure.

We refresh by UPDATE where the peer takes it (RFC 3311), else by a re-INVITE with our last description unchanged, whose
answer is told: the peer may move its media or hold the call by it (RFC 3264 section 8). A refresh that fails is tried
again until the session expires, but for 408 and 481: then the peer is gone.
"""

from functools import partial

from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, contact, reason_value
from trunkline.sip.dialog_store import DialogStore
from trunkline.sip.message.bodies import session_description
from trunkline.sip.message.validation import Rejection, SipMessage, SipResponse
from trunkline.sip.session_timer import SessionTimer, min_se_of, negotiate_uac, request_headers
from trunkline.sip.values import SessionRefreshed

RETRY_FACTOR = 0.05
"""Of the interval, until a refresh that failed is tried again."""
GLARE_RETRY = (1.0, 3.0)
"""Seconds until it is tried again after 491, as the called and the calling side: apart, so that the two do not meet
again (RFC 3261 section 14.1)."""


def takes_updates(message: SipMessage) -> bool:
    """Whether who sent this takes UPDATE."""
    return "UPDATE" in message.listed("allow")


def start(store: DialogStore, dialog: Dialog, session_timer: SessionTimer | None) -> None:
    """The session begins, or was refreshed, under this `session_timer`; None: it does not expire."""
    dialog.cancel_timers()
    dialog.session_timer = session_timer
    if session_timer is not None:
        dialog.timers.append(store.timers.after(session_timer.expire_after, _expired, store, dialog))
        if session_timer.we_refresh:
            dialog.timers.append(
                store.timers.after(session_timer.refresh_after, _refresh, store, dialog, session_timer.interval)
            )


def _expired(store: DialogStore, dialog: Dialog) -> None:
    store.give_up(dialog, "session expired", reason_value(408, "session expired"))


def _again(store: DialogStore, dialog: Dialog, seconds: float, interval: int) -> None:
    dialog.timers.append(store.timers.after(seconds, _refresh, store, dialog, interval))


def _refresh(store: DialogStore, dialog: Dialog, interval: int) -> None:
    if dialog.state is DialogState.CLOSING:
        return
    if dialog.state is not DialogState.CONFIRMED or dialog.invite is not None or dialog.offer_pending:
        _again(store, dialog, RETRY_FACTOR * interval, interval)
        return
    store.counters["session_refreshes"] += 1
    headers = (
        contact(dialog.flow),
        *CAPABILITIES,
        *request_headers(interval, max(store.settings.min_se, dialog.min_se), we_refresh=True),
    )
    if dialog.takes_updates:
        store.request(dialog, "UPDATE", partial(_refreshed, store, dialog, interval), headers)
    else:
        dialog.offer_pending = True
        store.request(dialog, "INVITE", partial(_refreshed, store, dialog, interval), headers, dialog.sdp)


def _refreshed(store: DialogStore, dialog: Dialog, interval: int, response: SipResponse) -> None:
    dialog.offer_pending = False
    if dialog.state is not DialogState.CONFIRMED:
        return
    if 200 <= response.status < 300:
        start(store, dialog, negotiate_uac(response, store.settings.min_se))
        if response.cseq[1] == "INVITE":
            _tell_answer(store, dialog, response)
    elif response.status in (408, 481):
        store.give_up(
            dialog, f"the peer is gone: {response.status} to the session refresh", reason_value(408, "peer gone")
        )
    elif response.status == 422 and min_se_of(response) > interval:
        dialog.min_se = min_se_of(response)
        _again(store, dialog, 0, dialog.min_se)
    elif response.status in (405, 501) and dialog.takes_updates:
        dialog.takes_updates = False
        _again(store, dialog, 0, interval)
    elif response.status == 491:
        _again(store, dialog, GLARE_RETRY[dialog.is_uac], interval)
    else:
        _again(store, dialog, RETRY_FACTOR * interval, interval)


def _tell_answer(store: DialogStore, dialog: Dialog, response: SipResponse) -> None:
    """One that cannot be read changes nothing: the session was refreshed all the same."""
    try:
        answer = session_description(response)
    except Rejection:
        store.counters["bad_answers"] += 1
        return
    if answer is not None and dialog.id in store.by_id:
        store.tell(SessionRefreshed(dialog.id, answer))
