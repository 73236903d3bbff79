cimport cython
from trunkline cimport speedups
from trunkline.media.rtp cimport clock as _timing
from trunkline.media.rtp cimport jitter as _jitter

cdef Py_ssize_t DATAGRAM_LIMIT, HEADER_LENGTH
cdef long long PLAIN, WINDOW

cdef class Inbound:
    cdef object _dtmf, _leg, _reception, _row, _rtcp_mux, _waiting
    cdef dict _types
    cdef tuple _digit_taps, _taps, _frame_taps
    cdef double _changed_at, _changes_left, _drift_limit, _least, _opened, _transit
    cdef long long _due, _length, _media_stamp, _media_time, _missing, _payload_type, _plain, _size, _units
    cdef bint _receives
    cdef _timing.Clock _clock
    cdef public _jitter.JitterBuffer jitter
    cdef public object calling, codec, heard
    cdef public double jitter_units
    cdef public long long bytes, clock_rate, digits, frames, keepalives, malformed, packets, unknown, unknown_type
    cdef public long long while_on_hold

    @cython.locals(size="Py_ssize_t", first=int, sequence=int, timestamp="long long", ssrc="long long",
                   payload=bytes)
    cpdef receive(self, bytes datagram, double now)

    @cython.locals(step="long long", media_time="long long", frames="long long", missing="long long", at="long long",
                   transit=double)
    cpdef _frame(self, long long timestamp, bytes payload, double now)

    @cython.locals(advance="long long", length="long long", missing="long long")
    cpdef long long _judged(self, long long step, double now)
