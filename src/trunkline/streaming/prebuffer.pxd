cimport cython

cdef class Prebuffer:
    cdef long long _bound, _former_latest, _former_longest, _last, _latest, _longest, _received, _seen, _seen_before
    cdef long long _steady_took, _shift, _sixteenths, _counted_from, _received_from, _smoothed, _steady_came, _steady_seen
    cdef long long _first

    @cython.locals(late="long long", before="long long")
    cpdef arrived(self, long long at, long long received, bint afresh)

    @cython.locals(took="long long", came="long long")
    cpdef _turn_over(self, long long at, long long received)
