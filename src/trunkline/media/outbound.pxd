cimport cython
from trunkline cimport speedups

cdef int MARKER, PLAIN, SEQUENCE_MASK
cdef long long TIME_MASK

cdef class Outbound:
    cdef object _codec, _event_type, _keys, _mixer
    cdef tuple _players, _frame_taps
    cdef bytes _silence
    cdef long long _event_at, _payload_type, _play_at, _sequence, _step, _timestamp, _units
    cdef bint _talking
    cdef public object calling, digits, player
    cdef public long long bytes, digits_lost, packets, ptime, skipped_ms, ssrc
    cdef public bint send_silence, sending

    @cython.locals(at="long long", timestamp="long long", first=int, sequence=int, payload=bytes)
    cpdef bytes next_packet(self)
