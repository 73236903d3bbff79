cimport cython

cdef class LevelMeter:
    cdef object _codec
    cdef bytes _gathered
    cdef long long _length, _odd, _per_ms, _rest, _rested
    cdef public object content
    cdef public long long loudest, samples

    @cython.locals(rest="long long", start="long long")
    cpdef see(self, bytes payload, long long size)
