cimport cython
from trunkline cimport speedups

cdef Py_ssize_t ENTRY_SIZE

cdef class Replay:
    cdef bytearray _journal
    cdef list _digits
    cdef double _span
    cdef long long _count, _limit, _tracks, _trim_at, _unsent
    cdef Py_ssize_t _end, _first, _next
    cdef public long long dropped

    @cython.locals(size="Py_ssize_t", start="Py_ssize_t", count="long long")
    cpdef keep(self, long long at, bint outbound, bytes payload, long long missing)

    @cython.locals(start="Py_ssize_t")
    cpdef Py_ssize_t _room(self, Py_ssize_t size, long long at, bint outbound) except -1

    cpdef Py_ssize_t _grow(self, Py_ssize_t size, long long at, bint outbound) except -1

    @cython.locals(oldest=double, limit="long long", journal=bytearray, count="long long", start="Py_ssize_t",
                   at="long long", size=int)
    cpdef _trim(self, long long newest)
