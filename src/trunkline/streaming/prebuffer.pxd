cimport cython

cdef class Prebuffer:
    cdef long long _base, _began, _bound, _former_latest, _former_longest, _last, _latest, _longest, _received
    cdef long long _seen, _seen_before, _sixteenths

    @cython.locals(late="long long", before="long long")
    cpdef arrived(self, long long at, long long received, bint afresh)

    cpdef _see(self, long long late, long long length)
