cimport cython

cdef class Throttle:
    cdef double _even_at

    @cython.locals(even_at=double, message=double, byte=double, burst=double)
    cpdef bint charge(self, long long size, double now)
