cimport cython
from trunkline cimport speedups
from trunkline.streaming cimport replay as _replay

cdef class _Fork:
    cdef public object codec, convert, held_since
    cdef public bytes prefix
    cdef public long long chunk, gap
    cdef public bint outbound, plain

cdef class Session:
    cdef object _codec, _encoding, _identity, _params, _settings, _stream_id
    cdef list _error_times
    cdef _Fork _inbound, _outbound
    cdef long long _origin, _sequence
    cdef double _started
    cdef public _replay.Replay replay
    cdef public object errors, refusals
    cdef public long long frames, marks, missing
    cdef public bint anchored

    cpdef bytes inbound(self, bytes payload, long long at, long long missing)

    @cython.locals(missing="long long")
    cpdef bytes outbound(self, bytes payload, long long at)

    @cython.locals(sequence="long long", chunk="long long", time="long long")
    cpdef bytes _message(self, _Fork fork, long long at, bytes payload, long long missing)

cdef class SendBuffer:
    cdef object _budget, _control, _media
    cdef double _span
    cdef long long _control_limit, _media_limit, _order
    cdef public long long dropped_control, dropped_frames

cdef class MessageSink:
    cdef public SendBuffer outbox

    cpdef media(self, bytes message, long long at)

    cpdef control(self, bytes message)
