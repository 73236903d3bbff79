cimport cython
from trunkline.streaming cimport message_handler as _handler
from trunkline.streaming cimport playback as _playback
from trunkline.streaming cimport session as _session
from trunkline.streaming cimport socket as _socket

cdef class StreamConnection:
    cdef object __weakref__
    cdef object _closed, _far, _files, _identity, _last_cause, _on_fact, _outcome, _own_leg, _params, _retry, _retry_at
    cdef object _retry_now, _sender, _settings, _target, _task
    cdef _playback.Playback _playback
    cdef _session.Session _session
    cdef _socket.AppSocket _line, _socket
    cdef long long _at, _dropped, _failed_tries, _lost, _unheard_ms, _unsent
    cdef bint _idle, _tells_backlog, _told
    cdef public _handler.MessageHandler _handler
    cdef public long long reconnects
    cdef public bint inbound, outbound, plays, plays_elsewhere, waiting

    @cython.locals(socket=_socket.AppSocket, session=_session.Session, message=bytes)
    cpdef inbound_frame(self, bytes payload, long long at, long long missing)

    @cython.locals(socket=_socket.AppSocket, session=_session.Session, message=bytes)
    cpdef outbound_frame(self, bytes payload, long long at)

    @cython.locals(socket=_socket.AppSocket, frame=bytes, message=bytes, backlog=bytes)
    cpdef bytes next_frame(self, long long at)

    cpdef text(self, message, object now)
