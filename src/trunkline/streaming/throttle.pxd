cimport cython

cdef class Throttle:
    cdef double _even_at

    @cython.locals(even_at=double)
    cpdef bint charge(self, long long size, double now)
