cdef class JitterBuffer:
    cdef public dict _held
    cdef dict _given_up
    cdef list _lateness
    cdef object _limit
    cdef long long _base, _expected, _next, _surplus
    cdef public object _trial, window
    cdef public long long duplicate, late, lost, reordered, restarts, ssrc, stray

    cpdef bint accepts(self, long long sequence, long long ssrc)
