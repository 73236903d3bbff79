"""Keeping sessions alive, and ending those that are not (RFC 4028): pure.

We refresh by UPDATE where the peer takes it (RFC 3311), else by a re-INVITE with our last description unchanged, whose
answer is told: the peer may move its media or hold the call by it (RFC 3264 section 8). A refresh that fails is tried
again until the session expires, but for 408 and 481: then the peer is gone.
"""

from functools import partial

from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, contact, reason
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


def start(table: DialogStore, dialog: Dialog, terms: SessionTimer | None) -> None:
    """The session begins, or was refreshed, under these terms; None: it does not expire."""
    dialog.be_quiet()
    dialog.terms = terms
    if terms is not None:
        dialog.alarms.append(table.timers.after(terms.expire_after, _expired, table, dialog))
        if terms.ours:
            dialog.alarms.append(table.timers.after(terms.refresh_after, _refresh, table, dialog, terms.interval))


def _expired(table: DialogStore, dialog: Dialog) -> None:
    table.give_up(dialog, "session expired", reason(408, "session expired"))


def _again(table: DialogStore, dialog: Dialog, seconds: float, interval: int) -> None:
    dialog.alarms.append(table.timers.after(seconds, _refresh, table, dialog, interval))


def _refresh(table: DialogStore, dialog: Dialog, interval: int) -> None:
    if dialog.state is DialogState.CLOSING:
        return
    if dialog.state is not DialogState.CONFIRMED or dialog.invite is not None or dialog.offering:
        _again(table, dialog, RETRY_FACTOR * interval, interval)
        return
    table.counters["session_refreshes"] += 1
    headers = (
        contact(dialog.flow),
        *CAPABILITIES,
        *request_headers(interval, max(table.settings.min_se, dialog.min_se), ours=True),
    )
    if dialog.takes_updates:
        table.request(dialog, "UPDATE", partial(_refreshed, table, dialog, interval), headers)
    else:
        dialog.offering = True
        table.request(dialog, "INVITE", partial(_refreshed, table, dialog, interval), headers, dialog.sdp)


def _refreshed(table: DialogStore, dialog: Dialog, interval: int, response: SipResponse) -> None:
    dialog.offering = False
    if dialog.state is not DialogState.CONFIRMED:
        return
    if 200 <= response.status < 300:
        start(table, dialog, negotiate_uac(response, table.settings.min_se))
        if response.cseq[1] == "INVITE":
            _tell_answer(table, dialog, response)
    elif response.status in (408, 481):
        table.give_up(dialog, f"the peer is gone: {response.status} to the session refresh", reason(408, "peer gone"))
    elif response.status == 422 and min_se_of(response) > interval:
        dialog.min_se = min_se_of(response)
        _again(table, dialog, 0, dialog.min_se)
    elif response.status in (405, 501) and dialog.takes_updates:
        dialog.takes_updates = False
        _again(table, dialog, 0, interval)
    elif response.status == 491:
        _again(table, dialog, GLARE_RETRY[dialog.ours], interval)
    else:
        _again(table, dialog, RETRY_FACTOR * interval, interval)


def _tell_answer(table: DialogStore, dialog: Dialog, response: SipResponse) -> None:
    """One that cannot be read changes nothing: the session was refreshed all the same."""
    try:
        answer = session_description(response)
    except Rejection:
        table.counters["bad_answers"] += 1
        return
    if answer is not None and dialog.id in table.live:
        table.tell(SessionRefreshed(dialog.id, answer))
