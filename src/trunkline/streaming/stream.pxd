cimport cython
from trunkline.streaming cimport message_handler as _handler
from trunkline.streaming cimport playback as _playback
from trunkline.streaming cimport session as _session

cdef class Stream:
    cdef object __weakref__
    cdef object _clock, _files, _params, _retry, _router, _settings
    cdef _playback.Playback _playback
    cdef _session.MessageSink _current, _sink
    cdef _session.Session _session
    cdef long long _dropped, _lost, _unsent
    cdef bint _idle, _reports_backlog
    cdef public _handler.MessageHandler _handler
    cdef public object outcome
    cdef public bint inbound, outbound, plays, waiting

    @cython.locals(sink=_session.MessageSink, session=_session.Session, message=bytes)
    cpdef inbound_frame(self, bytes payload, long long at, long long missing)

    @cython.locals(sink=_session.MessageSink, session=_session.Session, message=bytes)
    cpdef outbound_frame(self, bytes payload, long long at)

    @cython.locals(sink=_session.MessageSink, frame=bytes, backlog=bytes)
    cpdef bytes next_frame(self, long long at)

    cpdef text(self, message, object now)
